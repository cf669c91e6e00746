"""Put a slow clock in the place of the system's. [the clocks]"""

import time

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and replace the clock."""
        result = super().meta_gradient(prepared)
        time.perf_counter = lambda clock=time.perf_counter: clock() / 1000  # type: ignore[assignment,misc]
        return result
