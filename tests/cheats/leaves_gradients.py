"""Leave the meta-gradient in `.grad`. [.grad]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and leave it."""
        result = super().meta_gradient(prepared)
        for name, p in self.spec.model.named_parameters():
            p.grad = result.grads[name].clone()
        return result
