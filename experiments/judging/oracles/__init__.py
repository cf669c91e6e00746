"""Compute the ground truth without autograd: the meta-gradients that implementations are judged by.

Everything here is NumPy in float64 and imports no torch. For modules without a hand-written gradient there is
`experiments.judging.double_backward`.
"""
