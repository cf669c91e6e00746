"""Columns that compare a cell with others: ratios of times, differences of losses, agreement, break-even, trends."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from analysis import text
from analysis.columns.column import REFERENCE, Column
from analysis.columns.peers import Peers, curve, curve_reference, partner, reference_for
from analysis.columns.values import Row, combined, interval_of, value_of, with_ends, word_of
from analysis.statistics import stats
from analysis.store.cells import Cell, Value

STEP, FIRST_STEP = "step_ms", "first_step_cold_s"  # what the break-even is computed from


@dataclass(frozen=True, kw_only=True)
class Computed(Column):
    """A column that no cell stores; its name follows from what it is computed of."""

    name: str = ""
    stored: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Ratio(Computed):
    """The time of a reference over a cell's own, of pairs that took turns, with a 95 % interval and a verdict."""

    of: str
    against: str
    timing: ClassVar[bool] = True
    more_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"speedup_vs_{self.against}")

    @property
    def verdict(self) -> str:
        """The name of the verdict's column."""
        return f"verdict_vs_{self.against}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The ratio, the ends of its interval, and the verdict."""
        return *with_ends(self.name), self.verdict

    def values(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        """Compare a cell with the reference of its round group; nothing without one."""
        if self.of not in cell.samples or cell.round_group is None:
            return {}
        if cell.implementation == self.against:
            return self._named(stats.Interval(1.0, 1.0, 1.0), REFERENCE)
        references = (c for c in peers.in_turns(cell) if c.implementation == self.against and self.of in c.samples)
        if (other := partner(cell, references)) is None:
            return {}
        ratio = stats.ratio_interval(other.samples[self.of], cell.samples[self.of])
        return self._named(ratio, stats.ratio_verdict(ratio))

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Take the geometric mean over the seeds, and the verdict on its interval."""
        numbers = [float(row[self.name]) for row in rows if row[self.name] is not None]
        ratio = stats.geometric_interval(numbers)
        verdicts = [row[self.verdict] for row in rows]
        judged = bool(set(verdicts) - {None, REFERENCE})
        return self._named(ratio, stats.ratio_verdict(ratio) if judged else combined(verdicts))

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the ratio, its interval and the verdict."""
        return text.ratio(interval_of(row, self.name), word_of(row, self.verdict))

    def label(self, value: float) -> str:
        """Show how many times as fast."""
        return text.times(value)

    def explain(self) -> str:
        """Say what is divided by what, and what the verdicts mean."""
        return (
            f"time of {self.against} over own time, both taking turns, with 95 % interval: above 1 is faster; "
            "`same` means that the whole interval is within ±2 %, `undecided` that the interval is too wide to tell"
        )

    @property
    def axis_label(self) -> str:
        """Name the reference."""
        return f"speed-up vs {self.against} (×)"

    @property
    def short_name(self) -> str:
        """Name the reference only."""
        return f"vs {self.against}"

    def _named(self, ratio: stats.Interval, verdict: Any) -> dict[str, Any]:
        return dict(zip(self.fields, (*ratio, verdict), strict=True))


@dataclass(frozen=True, kw_only=True)
class BreakEven(Computed):
    """After how many steps what compiles has caught up with the fastest that does not and computes the same."""

    timing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", "breakeven_steps")

    @property
    def fields(self) -> tuple[str, ...]:
        """The steps, and the implementation that was caught up with."""
        return self.name, "breakeven_against"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        """Compare a cell that compiled with those that took turns with it."""
        own = _start(cell, compiled=True)
        if own is None or cell.round_group is None:
            return {}
        others = [
            (start, other.implementation)
            for other in peers.in_turns(cell)
            if other.computes == cell.computes and (start := _start(other, compiled=False))
        ]
        if not others:
            return {}
        (step_s, first_s), name = min(others)
        steps = stats.breakeven_steps(own[1], own[0], first_s, step_s)
        return dict(zip(self.fields, (int(steps) if math.isfinite(steps) else "never", name), strict=True))

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the number of steps, or `never`."""
        value = value_of(row, self.name)
        return self.number(value) if value == value else word_of(row, self.name)

    def number(self, value: float) -> str:
        """Show three digits: steps are whole, and no more of them mean anything."""
        return text.number(float(f"{value:.3g}"))

    def explain(self) -> str:
        """Say what has to pay off."""
        return (
            f"how many steps it takes until the slow first one (`{FIRST_STEP}`) has paid off: from then on its total "
            "time is below that of the fastest implementation that computes the same without compiling, taking turns "
            "with it; `never` where a step is not faster"
        )


@dataclass(frozen=True, kw_only=True)
class Difference(Computed):
    """A cell's mean loss minus that of the reference which computes the same, paired over seeds."""

    of: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.of}_difference")

    @property
    def fields(self) -> tuple[str, ...]:
        """The reference, the difference with its interval, and the verdict."""
        return f"{self.of}_reference", *with_ends(self.name), f"{self.of}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        """Compare over all seeds of the setting, hence the same for each of them."""
        if self.of not in cell.observations:
            return {}
        key = (self.name, cell.case.setting, cell.computes, cell.implementation, cell.environment)
        return peers.once(key, lambda: self._compare(cell, peers))

    def _compare(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        others = [other for other in peers.of_setting(cell) if self.of in other.observations]
        reference = reference_for(others, cell.computes)
        difference, verdict = stats.NOTHING, REFERENCE
        if cell.implementation != reference:
            own = self._by_seed(cell, others, cell.implementation, cell.environment)
            difference, verdict = stats.paired_difference(own, self._by_seed(cell, others, reference))
        return dict(zip(self.fields, (reference, *difference, verdict), strict=True))

    def _by_seed(
        self, cell: Cell, others: Sequence[Cell], implementation: str, environment: str | None = None
    ) -> dict[int, float]:
        """Return the mean loss by seed; of all environments, the cell's own last, so that it wins."""
        chosen = [c for c in others if c.implementation == implementation and environment in (None, c.environment)]
        chosen.sort(key=lambda c: (c.environment == cell.environment, c.finished))
        return {-1 if c.case.seed is None else c.case.seed: float(np.mean(c.observations[self.of])) for c in chosen}

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the difference with its sign, its interval and the verdict."""
        difference, verdict = interval_of(row, self.name), word_of(row, f"{self.of}_verdict")
        return verdict if difference.value != difference.value else f"{text.interval(difference, sign=True)} {verdict}"

    def explain(self) -> str:
        """Say what is subtracted, and what the verdicts mean."""
        return (
            f"own {self.of} minus that of the row marked reference which computes the same, paired over seeds, with "
            "95 % t interval: negative is better; `same` means within ±2 % of the reference's loss; one seed alone "
            "stays `undecided`"
        )


@dataclass(frozen=True, kw_only=True)
class Agreement(Computed):
    """The largest relative difference of the first entries of a curve from the reference's, in one dtype."""

    series: str
    curve: str
    first: int
    tolerance: float
    in_dtype: str
    worst_counts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", "agreement")

    @property
    def fields(self) -> tuple[str, ...]:
        """The difference, and the verdict."""
        return self.name, f"{self.name}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        """Compare a cell's curve with the reference's of its case."""
        own = curve(cell, self.series, self.curve)
        if not own or cell.case.dtype != self.in_dtype:
            return {}
        other = curve_reference(cell, peers.of_case(cell), self.series, self.curve)
        if other is None:
            return {}
        if other.implementation == cell.implementation:
            return dict(zip(self.fields, (math.nan, REFERENCE), strict=True))
        distance = stats.agreement(own, curve(other, self.series, self.curve), self.first)
        if math.isnan(distance):
            return {}
        return dict(zip(self.fields, (distance, "within" if distance <= self.tolerance else "beyond"), strict=True))

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the difference and the verdict."""
        value, verdict = value_of(row, self.name), word_of(row, f"{self.name}_verdict")
        return verdict if value != value else f"{text.number(value)} {verdict}"

    def explain(self) -> str:
        """Say of which curve, over how many entries, and the tolerance."""
        return (
            f"largest relative difference of `{self.curve}` from the reference's over its first {self.first} entries; "
            f"within or beyond the tolerance of {self.tolerance:g} in {self.in_dtype}"
        )

    def why_empty(self) -> str:
        """Name the dtype in which it is compared."""
        return f"compared in {self.in_dtype} only"


@dataclass(frozen=True, kw_only=True)
class Trend(Computed):
    """How much a curve rises from its beginning to its end, which may be at most `most`, in its own unit."""

    series: str
    x: str
    y: str
    most: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.y)

    @property
    def per_1000(self) -> str:
        """The name of the column with the rise over 1,000 of x."""
        return f"{self.y}_per_1000"

    @property
    def fields(self) -> tuple[str, ...]:
        """The rise, the rise over 1,000 of x, each with its interval, and the verdict."""
        return *with_ends(self.name), *with_ends(self.per_1000), f"{self.name}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Value]:
        """Fit the slope of a cell's curve."""
        x, y = (curve(cell, self.series, name) for name in (self.x, self.y))
        if len(x) < 2 or len(y) < 2:
            return {}
        slope = stats.mean_slope(x, y)
        rise = stats.Interval(*(end * (x[-1] - x[0]) for end in slope))
        verdict = stats.verdict(rise.lo, rise.hi, -math.inf, self.most, ("", "within", "beyond"))
        return dict(zip(self.fields, (*rise, *(end * 1000 for end in slope), verdict), strict=True))

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Average over the seeds, with intervals over them."""
        line = super().over_seeds(rows)
        for name in (self.name, self.per_1000):
            numbers = [float(row[name]) for row in rows if row[name] is not None]
            line |= dict(zip(with_ends(name), stats.t_interval(numbers), strict=True))
        return line

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the rise with its sign, its interval and the verdict."""
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
    """The rise of a trend's curve over 1,000 of its x, which `Trend` computes."""

    trend: Trend

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.trend.per_1000)

    @property
    def fields(self) -> tuple[str, ...]:
        """None of its own: they stand beside the trend."""
        return ()

    def text(self, row: Mapping[Any, object]) -> str:
        """Show the rise with its sign and its interval."""
        rise = interval_of(row, self.name)
        return "" if rise.value != rise.value else text.interval(rise, sign=True)

    def explain(self) -> str:
        """Name x."""
        return f"the same for each 1,000 of {self.trend.x}"


def _start(cell: Cell, compiled: bool) -> tuple[float, float] | None:
    """Return the seconds of a step and of the first one; None unless both were measured of one of this kind."""
    row = cell.rows[0] if cell.rows else {}
    first_s = row.get(FIRST_STEP)
    if row.get("compiled") is not compiled or STEP not in cell.samples or not isinstance(first_s, int | float):
        return None
    return stats.time_interval(cell.samples[STEP]).value / 1e3, first_s
