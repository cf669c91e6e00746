"""Leave autocast switched on. [autocast]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and switch it on."""
        result = super().meta_gradient(prepared)
        torch.set_autocast_enabled("cpu", True)
        return result
