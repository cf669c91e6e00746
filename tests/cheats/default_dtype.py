"""Set the default dtype of everyone. [the default dtype]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and set it."""
        result = super().meta_gradient(prepared)
        torch.set_default_dtype(torch.float64)
        return result
