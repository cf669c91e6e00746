"""Judge the timing itself: does it find differences that exist, and none that do not?

A trial compares an implementation with itself, and with itself slowed by 5 %. Verdicts are counted over trials and held
against bounds for 40 trials: 95 % intervals miss now and then, so a few false differences are no fault.
"""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from analysis.columns.frame import with_computed
from analysis.store.cells import Cell
from analysis.store.load import read

EXPERIMENT = "selfcheck"
REFERENCE = "reference"
VERDICTS = ("faster", "slower", "same", "undecided")

CaseId = tuple[str, str, str, int, int]
"""`harness.records.Case.id`; its last part, the seed, is the trial's number."""


class Bound(NamedTuple):
    """A limit on how many trials may have one of `verdicts`; `compared` describes what a trial compares."""

    compared: str
    verdicts: tuple[str, ...]
    least: int = 0
    most: float = math.inf

    def __str__(self) -> str:
        limit = f"at least {self.least}" if self.least else f"at most {self.most:g}"
        return f"{limit} {' or '.join(self.verdicts)}"


BOUNDS = {
    "again": Bound("with itself", ("faster", "slower"), most=5),
    "slowed": Bound("with itself, slowed by 5 %", ("slower",), least=32),
}


@dataclass(frozen=True)
class Outcome:
    """The verdicts on one implementation over all trials; `missing` has a line for each trial without a verdict."""

    bound: Bound
    counts: Counter[str]
    missing: list[str]

    @property
    def passed(self) -> bool:
        """Tell whether every trial has a verdict and the bound is kept."""
        count = sum(self.counts[verdict] for verdict in self.bound.verdicts)
        return not self.missing and self.bound.least <= count <= self.bound.most


def outcomes(results: Path, trials: Collection[CaseId], environment: str) -> list[Outcome]:
    """Return the verdicts stored for `trials` in one environment, using the newest cell of each trial."""
    experiment = read(results, EXPERIMENT)
    (ratio,) = experiment.page.ratios
    verdicts = with_computed(experiment).get(ratio.verdict, {})
    by_time = sorted(enumerate(experiment.cells), key=lambda position_and_cell: position_and_cell[1].finished)
    newest = {(c.implementation, c.case.id): (i, c) for i, c in by_time if c.environment == environment}
    outcome_list = []
    for implementation, bound in BOUNDS.items():
        counts: Counter[str] = Counter()
        missing = []
        for trial in trials:
            position, cell = newest.get((implementation, trial), (-1, None))
            _, reference = newest.get((REFERENCE, trial), (-1, None))
            if (verdict := verdicts.get(position)) in VERDICTS:
                counts[verdict] += 1
            else:
                missing.append(f"trial {trial[-1]}, {implementation}: no verdict: {_why(cell, reference)}")
        outcome_list.append(Outcome(bound, counts, missing))
    return outcome_list


def table(outcome_list: Collection[Outcome]) -> Table:
    """Return a table with a line for each outcome."""
    lines = Table("an implementation compared", "trials", *VERDICTS, "allowed", "")
    for outcome in outcome_list:
        counts = [outcome.counts[verdict] for verdict in VERDICTS]
        verdict = "passed" if outcome.passed else "not passed"
        lines.add_row(outcome.bound.compared, *map(str, [sum(counts), *counts]), str(outcome.bound), verdict)
    return lines


def _why(cell: Cell | None, reference: Cell | None) -> str:
    """Return why a trial has no verdict."""
    for failed in filter(None, (cell, reference)):
        if not failed.ok:
            return f"{failed.implementation} {failed.status}: {failed.reason}"
    return "not measured" if cell is None or reference is None else "not timed in one round group with its reference"
