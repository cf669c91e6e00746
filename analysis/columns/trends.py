"""Define columns with the rise of a cell's own curve, such as a process' memory over a training run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import text
from analysis.columns.column import Computed
from analysis.columns.peers import Peers, curve
from analysis.columns.values import Row, interval_of, with_ends, word_of
from analysis.statistics import stats
from analysis.store.cells import Cell
from experiments.harness.records import Scalar


@dataclass(frozen=True, kw_only=True)
class Trend(Computed):
    """How much a curve rises from beginning to end, in its own unit; a verdict says whether that exceeds `most`."""

    series: str
    x: str
    y: str
    most: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.y)

    @property
    def per_1000(self) -> str:
        """Return the name of the column with the rise per 1,000 of x."""
        return f"{self.y}_per_1000"

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the rise and of the rise per 1,000 of x, each with its interval, and of the verdict."""
        return *with_ends(self.name), *with_ends(self.per_1000), f"{self.name}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compute the rise of a cell's curve, and the verdict on it."""
        x, y = (curve(cell, self.series, name) for name in (self.x, self.y))
        if len(x) < 2 or len(y) < 2:
            return {}
        slope = stats.mean_slope(x, y)
        rise = stats.Interval(*(end * (x[-1] - x[0]) for end in slope))
        verdict = stats.verdict(rise.lo, rise.hi, -math.inf, self.most, ("", "within", "beyond"))
        return dict(zip(self.fields, (*rise, *(end * 1000 for end in slope), verdict), strict=True))

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Average over the seeds, with t intervals over them."""
        line = super().over_seeds(rows)
        for name in (self.name, self.per_1000):
            numbers = [float(row[name]) for row in rows if row[name] is not None]
            line |= dict(zip(with_ends(name), stats.t_interval(numbers), strict=True))
        return line

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the rise with its sign, its interval and the verdict as text."""
        rise, verdict = interval_of(row, self.name), word_of(row, f"{self.name}_verdict")
        return "" if rise.value != rise.value else " ".join(filter(None, [text.interval(rise, sign=True), verdict]))

    def explain(self) -> str:
        """Say what the interval is of, and what the verdicts mean."""
        return (
            f"{self.meaning}, with a 95 % t interval over ten equal stretches of it; `within` means that all of the "
            f"interval is at most {self.most:.3g}, `beyond` that all of it is above"
        )


@dataclass(frozen=True, kw_only=True)
class TrendRate(Computed):
    """The rise of a trend's curve per 1,000 of x, which `Trend` computes."""

    trend: Trend

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.trend.per_1000)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return nothing: `Trend` fills these columns."""
        return ()

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the rise with its sign and its interval as text."""
        rise = interval_of(row, self.name)
        return "" if rise.value != rise.value else text.interval(rise, sign=True)

    def explain(self) -> str:
        """Say per how much of x the rise is given."""
        return f"the same for each 1,000 of {self.trend.x}"
