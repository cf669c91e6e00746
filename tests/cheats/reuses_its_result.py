"""Write every result into the tensors of the first. [the next call changed its result]"""

from baselines.contract import MetaGradient, Params, TaskBatch
from baselines.handwritten.unrolled import Unrolled


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
