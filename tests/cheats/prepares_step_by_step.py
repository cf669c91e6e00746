"""Spend a moment of `prepare` on every inner step. [grow with the inner steps]"""

from time import process_time

from baselines.handwritten.unrolled import Unrolled
from maml_bench import TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def prepare(self, batch: TaskBatch) -> TaskBatch:
        """Work for 50 microseconds per step."""
        end = process_time() + 50e-6 * self.spec.inner.steps
        while process_time() < end:
            pass
        return batch
