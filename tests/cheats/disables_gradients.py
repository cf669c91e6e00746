"""Leave gradients switched off. [the gradient mode]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and switch them off."""
        result = super().meta_gradient(prepared)
        torch.set_grad_enabled(False)
        return result
