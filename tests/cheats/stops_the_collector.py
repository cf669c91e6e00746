"""Switch the garbage collector off. [the garbage collector]"""

import gc

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and switch it off."""
        result = super().meta_gradient(prepared)
        gc.disable()
        return result
