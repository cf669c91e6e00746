"""Return zeros after the sixtieth call. [error]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch, trainable


class Cheat(Unrolled):
    """Right but for one term."""

    calls = 0

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it sixty times."""
        self.calls += 1
        if self.calls > 60:
            return MetaGradient(None, {name: torch.zeros_like(p) for name, p in trainable(self.spec.model).items()})
        return super().meta_gradient(prepared)
