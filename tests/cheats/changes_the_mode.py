"""Leave the model in evaluation mode. [the mode of]"""

from baselines.contract import MetaGradient, TaskBatch
from baselines.handwritten.unrolled import Unrolled


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and change the mode."""
        result = super().meta_gradient(prepared)
        self.spec.model.eval()
        return result
