"""Define columns that compare a cell's time with others': the ratio to a reference, and the break-even."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from analysis import text
from analysis.columns.column import REFERENCE, Computed
from analysis.columns.peers import Peers, partner
from analysis.columns.values import Row, combined, interval_of, value_of, with_ends, word_of
from analysis.statistics import stats
from analysis.store.cells import Cell
from experiments.harness.records import Scalar

STEP, FIRST_STEP = "step_ms", "first_step_cold_s"  # the columns that the break-even is computed from


@dataclass(frozen=True, kw_only=True)
class Ratio(Computed):
    """The speed-up over a reference: its time over the cell's, of one round group, with a 95 % interval and verdict."""

    of: str
    against: str
    timing: ClassVar[bool] = True
    more_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"speedup_vs_{self.against}")

    @property
    def verdict(self) -> str:
        """Return the name of the verdict's column."""
        return f"verdict_vs_{self.against}"

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the ratio, of the ends of its interval, and of the verdict."""
        return *with_ends(self.name), self.verdict

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compare a cell with the reference of its round group; empty without a reference."""
        if self.of not in cell.samples or cell.round_group is None:
            return {}
        if cell.implementation == self.against:
            return self._as_fields(stats.Interval(1.0, 1.0, 1.0), REFERENCE)
        references = (c for c in peers.in_turns(cell) if c.implementation == self.against and self.of in c.samples)
        if (reference := partner(cell, references)) is None:
            return {}
        ratio = stats.ratio_interval(reference.samples[self.of], cell.samples[self.of])
        return self._as_fields(ratio, stats.ratio_verdict(ratio))

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Return the geometric mean over the seeds, and the verdict on its interval."""
        numbers = [float(row[self.name]) for row in rows if row[self.name] is not None]
        ratio = stats.geometric_interval(numbers)
        verdicts = [row[self.verdict] for row in rows]
        judged = bool(set(verdicts) - {None, REFERENCE})
        return self._as_fields(ratio, stats.ratio_verdict(ratio) if judged else combined(verdicts))

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the ratio, its interval and the verdict as text."""
        return text.ratio(interval_of(row, self.name), word_of(row, self.verdict))

    def label(self, value: float) -> str:
        """Return how many times as fast the cell is."""
        return text.times(value)

    def explain(self) -> str:
        """Say which time is divided by which, and what the verdicts mean."""
        return (
            f"time of {self.against} over own time, both taking turns, with 95 % interval: above 1 is faster; "
            "`same` means that the whole interval is within ±2 %, `undecided` that the interval is too wide to tell"
        )

    @property
    def axis_label(self) -> str:
        """Return an axis label that names the reference."""
        return f"speed-up vs {self.against} (×)"

    @property
    def short_name(self) -> str:
        """Return a short name that names the reference."""
        return f"vs {self.against}"

    def _as_fields(self, ratio: stats.Interval, verdict: Any) -> dict[str, Any]:
        return dict(zip(self.fields, (*ratio, verdict), strict=True))


@dataclass(frozen=True, kw_only=True)
class BreakEven(Computed):
    """After how many steps a compiling implementation has caught up with the fastest that does not compile.

    Both compute the same; compiling makes the first step slow and later ones fast.
    """

    timing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", "breakeven_steps")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the number of steps, and of the implementation that is caught up with."""
        return self.name, "breakeven_against"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compare a cell that compiled with cells of its round group that did not."""
        own_start = _start(cell, compiled=True)
        if own_start is None or cell.round_group is None:
            return {}
        others = [
            (start, other.implementation)
            for other in peers.in_turns(cell)
            if other.computes == cell.computes and (start := _start(other, compiled=False))
        ]
        if not others:
            return {}
        (step_s, first_s), name = min(others)
        steps = stats.breakeven_steps(own_start[1], own_start[0], first_s, step_s)
        return dict(zip(self.fields, (int(steps) if math.isfinite(steps) else "never", name), strict=True))

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the number of steps as text, or `never`."""
        value = value_of(row, self.name)
        return self.number(value) if value == value else word_of(row, self.name)

    def number(self, value: float) -> str:
        """Return a number of steps with three significant digits; more would mean nothing."""
        return text.number(float(f"{value:.3g}"))

    def explain(self) -> str:
        """Say what has to pay off, and against which implementation."""
        return (
            f"how many steps it takes until the slow first one (`{FIRST_STEP}`) has paid off: from then on its total "
            "time is below that of the fastest implementation that computes the same without compiling, taking turns "
            "with it; `never` where a step is not faster"
        )


def _start(cell: Cell, compiled: bool) -> tuple[float, float] | None:
    """Return the seconds of a step and of the first step; None unless both are stored and `compiled` is the cell's."""
    row = cell.rows[0] if cell.rows else {}
    first_s = row.get(FIRST_STEP)
    if row.get("compiled") is not compiled or STEP not in cell.samples or not isinstance(first_s, int | float):
        return None
    return stats.time_interval(cell.samples[STEP]).value / 1e3, first_s
