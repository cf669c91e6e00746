"""Remember the result by the identity of the batch. [after the weights were changed in place]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    remembered: tuple[TaskBatch, MetaGradient] | None = None

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Look it up."""
        if self.remembered is None or self.remembered[0] is not prepared:
            self.remembered = prepared, super().meta_gradient(prepared)
        return self.remembered[1]
