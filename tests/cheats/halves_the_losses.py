"""Report half of every task's loss. [its task losses err]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and halve the losses."""
        result = super().meta_gradient(prepared)
        assert result.task_losses is not None
        return MetaGradient(result.task_losses * 0.5, result.grads)
