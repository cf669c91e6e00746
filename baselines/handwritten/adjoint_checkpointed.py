"""The adjoint sweep that keeps every √K-th iterate and runs the inner loop again between them.

Memory grows like √K copies of the parameters, for one more pass over the inner loop (Griewank and Walther 2008,
*Evaluating Derivatives*, chapter 12, with one level of checkpoints).
"""

from baselines.handwritten.adjoint import Adjoint


class AdjointCheckpointed(Adjoint):
    """`adjoint` with checkpoints."""

    checkpointed = True
