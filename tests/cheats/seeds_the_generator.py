"""Seed the generator of everyone. [the state of a random generator]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and seed."""
        result = super().meta_gradient(prepared)
        torch.manual_seed(0)
        return result
