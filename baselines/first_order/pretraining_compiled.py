"""Compute the gradient of pre-training as `compiled` does with no inner steps, on the support points.

result = mean over tasks of ∇S(θ)
"""

from baselines._compiler.base import CompiledSweep
from baselines.contract import MetaGradient, TaskBatch
from baselines.first_order.pretraining import Pretraining


class PretrainingCompiled(CompiledSweep):
    """Differentiate the mean support loss of any `nn.Module`."""

    computes = "pretraining"
    second_order = False
    fallback = Pretraining

    @property
    def steps(self) -> int:
        """Take no inner steps."""
        return 0

    def points(self, batch: TaskBatch) -> TaskBatch:
        """Give the support points, also where the sweep looks for query points."""
        return TaskBatch(batch.support_x, batch.support_y, batch.support_x, batch.support_y)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute one plain gradient; no query losses."""
        return MetaGradient(None, super().meta_gradient(prepared).grads)
