"""Find the cells that a cell is compared with: those of its round group, its case, or its setting."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property

from analysis.store.cells import Cell
from experiments.harness.records import Scalar

PREFERRED = {"maml": "unrolled", "fomaml": "fomaml", "reptile": "reptile", "pretraining": "pretraining"}
"""The preferred reference for each kind of meta-gradient, used if it was measured."""


class Peers:
    """All cells of an experiment, grouped by what makes them comparable."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._known: dict[Hashable, dict[str, Scalar]] = {}

    def once(self, key: Hashable, compute: Callable[[], dict[str, Scalar]]) -> dict[str, Scalar]:
        """Return `compute()`, calling it only once per `key`, for values that several cells share."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def in_turns(self, cell: Cell) -> list[Cell]:
        """Return the cells that took turns with this one: only their times may be compared with its own."""
        return self._turns[_turns(cell)]

    def of_case(self, cell: Cell) -> list[Cell]:
        """Return the cells of the same case."""
        return self._cases[cell.case.id]

    def of_setting(self, cell: Cell) -> list[Cell]:
        """Return the cells of the same case, with any seed."""
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
    """Group cells by the key that `by` returns; their order is kept."""
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(by(cell), []).append(cell)
    return groups


def reference_for(cells: Iterable[Cell], computes: str) -> str:
    """Return the reference among the implementations that compute the same; empty if there are none."""
    names = sorted({cell.implementation for cell in cells if cell.computes == computes})
    preferred = PREFERRED.get(computes, "")
    return preferred if preferred in names else next(iter(names), "")


def partner(cell: Cell, candidates: Iterable[Cell]) -> Cell | None:
    """Return the candidate to compare a cell with: preferably of its environment, and of several the newest."""
    return max(candidates, key=lambda other: (other.environment == cell.environment, other.finished), default=None)


def curve(cell: Cell, series: str, column: str) -> Sequence[float]:
    """Return one curve of a cell; empty if it has no such series or column."""
    return cell.series.get(series, {}).get(column, ())


def curve_reference(cell: Cell, same_case: Iterable[Cell], series: str, column: str) -> Cell | None:
    """Return the cell of the same case whose curve this one's is compared with: the reference's."""
    peers = [other for other in same_case if curve(other, series, column)]
    name = reference_for(peers, cell.computes)
    return partner(cell, (other for other in peers if other.implementation == name))


def _turns(cell: Cell) -> Hashable:
    return cell.case.id, cell.round_group
