"""Write every result into the tensors of the first. [the next call changed its result]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, Params, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    kept: Params | None = None

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it into the same tensors."""
        result = super().meta_gradient(prepared)
        self.kept = self.kept or result.grads
        for name, g in result.grads.items():
            self.kept[name].copy_(g)
        return MetaGradient(result.task_losses, self.kept)
