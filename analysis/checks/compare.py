"""Compare two results folders: what became better or worse, stayed the same, or cannot be compared.

Times of two runs are never set against each other, since machines vary from hour to hour: of a timed experiment the
speed-ups over its references are compared, each of which was taken in one round group of its own run. Held-out losses
are compared by their means, paired over the seeds that both runs have.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.columns.column import REFERENCE
from analysis.columns.frame import with_computed
from analysis.columns.times import Ratio
from analysis.columns.values import interval_of
from analysis.statistics import stats
from analysis.store.cells import Cell
from analysis.store.load import Experiment, experiments_in, load

BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "same", "undecided"
NOT_COMPARABLE, FAILING, MENDED = "not comparable", "newly failing", "newly ok"
VERDICTS = (FAILING, WORSE, NOT_COMPARABLE, UNDECIDED, SAME, BETTER, MENDED)
ALARMS = (FAILING, WORSE)


class NothingToCompare(ValueError):
    """The two folders have no cell in common."""


class Finding(NamedTuple):
    """What became of one cell, or of one implementation over its seeds, from the first folder to the second."""

    experiment: str
    case: str
    implementation: str
    quantity: str
    verdict: str
    details: str


def compare(first: Path, second: Path) -> list[Finding]:
    """Return all findings, by experiment and case. Raises NothingToCompare, MixedDigests, Unreadable."""
    names = [name for name in experiments_in(first) if name in experiments_in(second)]
    findings = [f for name in names for f in _experiment(load(first, name), load(second, name))]
    if not findings:
        raise NothingToCompare(f"{first} and {second} have no cell of the same experiment, case and implementation")
    return findings


def _experiment(old: Experiment, new: Experiment) -> Iterator[Finding]:
    before, after = _newest(old), _newest(new)
    rows = _rows(old), _rows(new)
    page = new.page
    for key in sorted((key for key in before if key in after), key=str):
        a, b = before[key], after[key]
        at = (new.name, _name(b), b.implementation)
        if a.ok != b.ok:
            yield Finding(
                *at, "status", MENDED if b.ok else FAILING, f"{a.status} → {b.status}: {(b if a.ok else a).reason}"
            )
        elif not a.ok:
            yield Finding(*at, "status", SAME, b.status)
        elif _digests(a) != _digests(b):
            yield Finding(*at, "status", NOT_COMPARABLE, "other tasks or initial weights")
        elif page.ratio_of in a.samples and page.ratio_of in b.samples:
            sides = rows[0].get(a.file, {}), rows[1].get(b.file, {})
            ratios = {ratio.against: _ratio(ratio, *sides) for ratio in page.ratios}
            known = {reference: ratio for reference, ratio in ratios.items() if ratio}
            for reference, ratio in known.items():
                yield Finding(*at, f"speed-up over {reference}", *ratio)
            if not known and b.implementation not in ratios:
                yield Finding(*at, "speed-up", NOT_COMPARABLE, "no reference was timed with it in both")
        elif not page.compared:
            yield Finding(*at, "status", SAME, f"{b.status}; its values are not compared")
    if page.compared:
        yield from _losses(page.compared, old, new)


def _newest(experiment: Experiment) -> dict[object, Cell]:
    """Return the newest cell of each case and implementation, rather not one that was a reference only."""
    order = sorted(experiment.cells, key=lambda cell: (not cell.reference_only, cell.finished))
    return {(cell.case.id, cell.implementation): cell for cell in order}


def _rows(experiment: Experiment) -> dict[str, dict[str, object]]:
    """Return the first row of each cell, including its computed columns, as a mapping from the cell's file."""
    frame = with_computed(experiment)
    first = frame[~frame.index.duplicated()]
    return {experiment.cells[position].file: row.to_dict() for position, row in first.iterrows()}


def _name(cell: Cell, seed: bool = True) -> str:
    case = cell.case
    of_seed = f"-seed{case.seed}" if seed else ""
    return f"{case.name}-{case.device}-{case.dtype}{of_seed}-threads{case.threads}"


def _ratio(column: Ratio, old: dict[str, object], new: dict[str, object]) -> tuple[str, str] | None:
    """Return the verdict on how a speed-up changed, and both speed-ups as text; None if either is missing."""
    a, b = (interval_of(row, column.name) for row in (old, new))
    if math.isnan(a.value) or math.isnan(b.value) or REFERENCE in (old.get(column.verdict), new.get(column.verdict)):
        return None
    quotient = b.value / a.value
    half = math.hypot(*(math.log(x.hi / x.lo) / 2 for x in (a, b)))  # the two runs are independent
    verdict = stats.ratio_verdict(stats.Interval(quotient, quotient / math.exp(half), quotient * math.exp(half)))
    words = {"faster": BETTER, "slower": WORSE}
    return words.get(verdict, verdict), f"{a.value:.3g}× → {b.value:.3g}×"


def _losses(quantity: str, old: Experiment, new: Experiment) -> Iterator[Finding]:
    """Yield a finding on the held-out loss of each implementation, over the seeds and tasks that both folders share."""
    a, b = _newest(old), _newest(new)
    same = {key for key in a if key in b and _digests(a[key]) == _digests(b[key])}
    before, after = (_means(quantity, [cells[key] for key in cells if key in same]) for cells in (a, b))
    for key in (key for key in before if key in after):
        case, implementation = key
        difference, verdict = stats.paired_difference(after[key], before[key])
        if verdict:
            details = f"difference {difference.value:+.3g} over {len(before[key].keys() & after[key].keys())} seeds"
            yield Finding(
                new.name, case, implementation, quantity, SAME if before[key] == after[key] else verdict, details
            )


def _digests(cell: Cell) -> tuple[str, str]:
    return cell.stream_digest, cell.init_digest


def _means(quantity: str, cells: Iterable[Cell]) -> dict[tuple[str, str], dict[int, float]]:
    """Return the mean held-out loss of each seed, by case and implementation."""
    means: dict[tuple[str, str], dict[int, float]] = {}
    for cell in cells:
        if cell.ok and quantity in cell.observations:
            seeds = means.setdefault((_name(cell, seed=False), cell.implementation), {})
            seeds[-1 if cell.case.seed is None else cell.case.seed] = float(np.mean(cell.observations[quantity]))
    return means


def count_verdicts(findings: list[Finding]) -> pd.Series:
    """Return how many findings have each verdict, the alarming verdicts first."""
    counts = pd.Series([finding.verdict for finding in findings]).value_counts()
    return counts.reindex([verdict for verdict in VERDICTS if verdict in counts])
