"""Allow products of float32 in lower precision. [the precision of float32 products]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and lower it."""
        result = super().meta_gradient(prepared)
        torch.set_float32_matmul_precision("medium")
        return result
