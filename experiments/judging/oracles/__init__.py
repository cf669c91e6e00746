"""Meta-gradients computed without autograd: what implementations are judged by.

Everything here is NumPy in float64 and knows nothing of torch, except `double_backward`, which stands in for modules
that have no hand-written gradient.
"""
