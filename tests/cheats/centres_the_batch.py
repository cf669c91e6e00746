"""Write into the batch that it was given. [of its batch]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and leave the query points doubled."""
        result = super().meta_gradient(prepared)
        prepared.query_x.mul_(2)
        return result
