"""Return zeros after the sixtieth call. [error]"""

import torch

from baselines.contract import MetaGradient, TaskBatch, trainable
from baselines.handwritten.unrolled import Unrolled


class Cheat(Unrolled):
    """Right but for one term."""

    calls = 0

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it sixty times."""
        self.calls += 1
        if self.calls > 60:
            return MetaGradient(None, {name: torch.zeros_like(p) for name, p in trainable(self.spec.model).items()})
        return super().meta_gradient(prepared)
