"""The cells that a cell is compared with: those that took turns with it, of its case, and of its setting."""

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property

from analysis.store.cells import Cell, Numbers, Value

PREFERRED = {"maml": "unrolled", "fomaml": "fomaml", "reptile": "reptile", "pretraining": "pretraining"}
"""The reference among those that compute the same, where it was measured."""


class Peers:
    """All cells of an experiment, grouped by what makes them comparable."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._known: dict[Hashable, dict[str, Value]] = {}

    def once(self, key: Hashable, compute: Callable[[], dict[str, Value]]) -> dict[str, Value]:
        """Compute what is the same for several cells, which share `key`, for the first of them only."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def in_turns(self, cell: Cell) -> list[Cell]:
        """Return the cells that took turns with this one: only their times are compared."""
        return self._turns[_turns(cell)]

    def of_case(self, cell: Cell) -> list[Cell]:
        """Return the cells of the same case."""
        return self._cases[cell.case.id]

    def of_setting(self, cell: Cell) -> list[Cell]:
        """Return the cells of the same case with any seed."""
        return self._settings[cell.case.setting]

    @cached_property
    def _turns(self) -> dict[Hashable, list[Cell]]:
        return grouped(self.cells, _turns)

    @cached_property
    def _cases(self) -> dict[Hashable, list[Cell]]:
        return grouped(self.cells, lambda cell: cell.case.id)

    @cached_property
    def _settings(self) -> dict[Hashable, list[Cell]]:
        return grouped(self.cells, lambda cell: cell.case.setting)


def grouped(cells: Iterable[Cell], by: Callable[[Cell], Hashable]) -> dict[Hashable, list[Cell]]:
    """Group cells by what they share, in their order."""
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(by(cell), []).append(cell)
    return groups


def reference_for(cells: Iterable[Cell], computes: str) -> str:
    """Return the implementation that those which compute the same are compared with; empty without any."""
    names = sorted({cell.implementation for cell in cells if cell.computes == computes})
    preferred = PREFERRED.get(computes, "")
    return preferred if preferred in names else next(iter(names), "")


def partner(cell: Cell, candidates: Iterable[Cell]) -> Cell | None:
    """Return the candidate to compare a cell with: of its environment where there is one, else the newest."""
    return max(candidates, key=lambda other: (other.environment == cell.environment, other.finished), default=None)


def curve(cell: Cell, series: str, column: str) -> Numbers:
    """Return one curve of a cell; empty if it has none of these names."""
    return cell.series.get(series, {}).get(column, array("d"))


def curve_reference(cell: Cell, same_case: Iterable[Cell], series: str, column: str) -> Cell | None:
    """Return the cell of the same case whose curve this one's is measured against, of what computes the same."""
    peers = [other for other in same_case if curve(other, series, column)]
    name = reference_for(peers, cell.computes)
    return partner(cell, (other for other in peers if other.implementation == name))


def _turns(cell: Cell) -> Hashable:
    return cell.case.id, cell.round_group
