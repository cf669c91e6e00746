"""Have the processor take subnormal numbers for zero. [subnormal numbers]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and set it."""
        result = super().meta_gradient(prepared)
        torch.set_flush_denormal(True)
        return result
