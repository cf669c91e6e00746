"""Leave every weight one bit larger. [the call changed]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and nudge the weights."""
        result = super().meta_gradient(prepared)
        with torch.no_grad():
            for p in self.spec.model.parameters():
                p.copy_(torch.nextafter(p, p + 1))
        return result
