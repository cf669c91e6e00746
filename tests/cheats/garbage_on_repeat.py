"""Return nothing of use for a batch that came before. [called again with the same batch]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch, trainable


class Cheat(Unrolled):
    """Right but for one term."""

    last: object = None

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it once for each batch."""
        if prepared is self.last:
            return MetaGradient(None, {name: torch.zeros_like(p) for name, p in trainable(self.spec.model).items()})
        self.last = prepared
        return super().meta_gradient(prepared)
