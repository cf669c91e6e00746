"""Columns that compare the losses of a cell with a reference's: differences over seeds, agreement of curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from analysis import text
from analysis.columns.column import REFERENCE, Computed
from analysis.columns.peers import Peers, curve, curve_reference, reference_for
from analysis.columns.values import interval_of, value_of, with_ends, word_of
from analysis.statistics import stats
from analysis.store.cells import Cell, Value


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
        cells = [other for other in peers.of_setting(cell) if self.of in other.observations]
        reference = reference_for(cells, cell.computes)
        difference, verdict = stats.NOTHING, REFERENCE
        if cell.implementation != reference:
            losses = self._by_seed(cell, cells, cell.implementation, cell.environment)
            difference, verdict = stats.paired_difference(losses, self._by_seed(cell, cells, reference))
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
        entries = curve(cell, self.series, self.curve)
        if not entries or cell.case.dtype != self.in_dtype:
            return {}
        reference = curve_reference(cell, peers.of_case(cell), self.series, self.curve)
        if reference is None:
            return {}
        if reference.implementation == cell.implementation:
            return dict(zip(self.fields, (math.nan, REFERENCE), strict=True))
        distance = stats.agreement(entries, curve(reference, self.series, self.curve), self.first)
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
