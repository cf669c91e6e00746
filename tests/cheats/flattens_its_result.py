"""Return gradients that are of another shape, and broadcast. [its gradient of]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and flatten."""
        result = super().meta_gradient(prepared)
        return MetaGradient(result.task_losses, {name: g[None] for name, g in result.grads.items()})
