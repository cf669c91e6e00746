"""Compute at the weights of the first call, for ever. [error]"""

import torch

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    first: list[torch.Tensor] | None = None

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Put the first weights in the place of the present ones meanwhile."""
        parameters = list(self.spec.model.parameters())
        now = [p.detach().clone() for p in parameters]
        self.first = self.first or now
        with torch.no_grad():
            for p, value in zip(parameters, self.first, strict=True):
                p.copy_(value)
        result = super().meta_gradient(prepared)
        with torch.no_grad():
            for p, value in zip(parameters, now, strict=True):
                p.copy_(value)
        return result
