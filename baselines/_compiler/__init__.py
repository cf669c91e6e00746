"""Make `compiled` and its kin, from the math to the machine code.

step            an inner step, its pull-back and the outer loss, as functions of named tuples
low_rank        adapted weights of linear layers, as θ plus low rank
network         what a forward consists of, from one trace of it
tracing, trees  functions of pytrees as graphs of flat tensors
simplification  plainer graphs of the same function
partition       what an inner step hands over to its pull-back, and what that computes again
meta_gradient   the adjoint sweep over the traced parts
cuda_graph      the sweep as one CUDA graph
guards/         is everything as it was that the code was made from?
code, agreement, base   the class that serves calls: make code, check it, run it, or fall back
"""
