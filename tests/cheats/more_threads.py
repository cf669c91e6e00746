"""Take more threads than everyone has. [the number of threads]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and take more."""
        result = super().meta_gradient(prepared)
        torch.set_num_threads(4)
        return result
