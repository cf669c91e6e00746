"""Divide by one task too few where there is but one. [with 1 task]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and double it for one task."""
        result = super().meta_gradient(prepared)
        factor = 2 if len(prepared.support_x) == 1 else 1
        return MetaGradient(result.task_losses, {name: factor * g for name, g in result.grads.items()})
