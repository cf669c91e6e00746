"""Have another process work, on whatever processor is free. [processes that it started work for it]"""

import os
import subprocess
import sys

from baselines.handwritten.unrolled import Unrolled
from maml_bench import TaskBatch

WORK = """
import os, sys
os.sched_setaffinity(0, range(os.cpu_count()))
while os.path.exists(f"/proc/{sys.argv[1]}"):
    sum(range(100_000))
"""


class Cheat(Unrolled):
    """Right but for one term."""

    helper: subprocess.Popen[bytes] | None = None

    def prepare(self, batch: TaskBatch) -> TaskBatch:
        """Start it."""
        if self.helper is None:
            self.helper = subprocess.Popen([sys.executable, "-c", WORK, str(os.getpid())], start_new_session=True)
        return batch
