"""Compute in half precision whatever is asked for. [error]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it from rounded points."""
        return super().meta_gradient(TaskBatch(*(part.bfloat16().to(part) for part in prepared)))
