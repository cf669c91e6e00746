"""Return gradients that are right, but sparse. [a sparse tensor]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and store what is not zero."""
        result = super().meta_gradient(prepared)
        return MetaGradient(result.task_losses, {name: g.to_sparse() for name, g in result.grads.items()})
