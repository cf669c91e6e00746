"""What can happen to a run, made to happen: `make faults`, and a few of them in the tests.

A fault is a function of an undisturbed run, an empty folder and how often to try; it makes the fault happen there to
runs of the same cells, and compares what came of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.faults.runs import Undisturbed


class Outcome(NamedTuple):
    """How often it was tried, and survived: the run ended as it should, and so did what it had started.

    lost, wrong: cells that are missing in the end, or differ from those of the undisturbed run.
    """

    tried: int
    survived: int
    lost: int = 0
    wrong: int = 0
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing came of it; what cannot be tried here passes, and says why."""
        return self.survived == self.tried and not self.lost and not self.wrong


Fault = Callable[[Undisturbed, Path, int], Outcome]
