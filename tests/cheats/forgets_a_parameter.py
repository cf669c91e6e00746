"""Leave a parameter's gradient out. [error]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and drop one."""
        result = super().meta_gradient(prepared)
        return MetaGradient(result.task_losses, dict(list(result.grads.items())[1:]))
