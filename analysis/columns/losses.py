"""Define columns that compare a cell's losses with a reference's: differences over seeds, and agreement of curves."""

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
from analysis.store.cells import Cell
from experiments.harness.records import Scalar


@dataclass(frozen=True, kw_only=True)
class Difference(Computed):
    """A cell's mean loss minus that of the reference which computes the same, paired over seeds."""

    of: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.of}_difference")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the reference, of the difference with its interval, and of the verdict."""
        return f"{self.of}_reference", *with_ends(self.name), f"{self.of}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compare over all seeds of the setting; the result is the same for each seed."""
        if self.of not in cell.observations:
            return {}
        key = (self.name, cell.case.setting, cell.computes, cell.implementation, cell.environment)
        return peers.once(key, lambda: self._compare(cell, peers))

    def _compare(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
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
        """Return the mean loss by seed, from the cell's own environment where there is one, else from any."""
        seed_cells = [c for c in others if c.implementation == implementation and environment in (None, c.environment)]
        seed_cells.sort(key=lambda c: (c.environment == cell.environment, c.finished))
        return {-1 if c.case.seed is None else c.case.seed: float(np.mean(c.observations[self.of])) for c in seed_cells}

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the difference with its sign, its interval and the verdict as text."""
        difference, verdict = interval_of(row, self.name), word_of(row, f"{self.of}_verdict")
        return verdict if difference.value != difference.value else f"{text.interval(difference, sign=True)} {verdict}"

    def explain(self) -> str:
        """Say what is subtracted from what, and what the verdicts mean."""
        return (
            f"own {self.of} minus that of the row marked reference which computes the same, paired over seeds, with "
            "95 % t interval: negative is better; `same` means within ±2 % of the reference's loss; one seed alone "
            "stays `undecided`"
        )


@dataclass(frozen=True, kw_only=True)
class Agreement(Computed):
    """The largest relative difference of a curve's first entries from the reference's, in one dtype."""

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
        """Return the names of the difference and of the verdict."""
        return self.name, f"{self.name}_verdict"

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compare a cell's curve with the reference's curve of the same case."""
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
        """Return the difference and the verdict as text."""
        value, verdict = value_of(row, self.name), word_of(row, f"{self.name}_verdict")
        return verdict if value != value else f"{text.number(value)} {verdict}"

    def explain(self) -> str:
        """Say which curve is compared, over how many entries, and with which tolerance."""
        return (
            f"largest relative difference of `{self.curve}` from the reference's over its first {self.first} entries; "
            f"within or beyond the tolerance of {self.tolerance:g} in {self.in_dtype}"
        )

    def why_empty(self) -> str:
        """Say that curves are compared in one dtype only."""
        return f"compared in {self.in_dtype} only"
