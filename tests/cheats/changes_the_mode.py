"""Leave the model in evaluation mode. [the mode of]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and change the mode."""
        result = super().meta_gradient(prepared)
        self.spec.model.eval()
        return result
