"""Leave a hook on the model. [the hooks of]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and leave a hook."""
        result = super().meta_gradient(prepared)
        self.spec.model.register_forward_hook(lambda *_: None)
        return result
