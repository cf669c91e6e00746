"""Whether results are of one machine; where they are not, every table and figure that is made of them says so."""

from collections.abc import Iterable

from analysis.store.cells import Cell
from analysis.store.load import SHORT


def several(cells: Iterable[Cell]) -> str:
    """What the cells are of, in a few words; empty if all are of one machine and its versions."""
    cells = list(cells)
    environments = _environments(cells)
    if len(environments) > 1:
        return f"{len(environments)} environments"
    return "several machines of one kind" if len({cell.machine for cell in cells}) > 1 else ""


def sentence(cells: Iterable[Cell]) -> str:
    """The same in Markdown, with the environments by name and what follows for the reader; empty likewise."""
    cells = list(cells)
    what, environments = several(cells), _environments(cells)
    if len(environments) > 1:
        named = ", ".join(f"`{environment}`" for environment in environments)
        return f"**From {what}**, which differ in machine or versions: {named}. No ratio of times is made between them."
    return f"**From {what}**; a round group is of one machine." if what else ""


def _environments(cells: list[Cell]) -> list[str]:
    return sorted({cell.environment[:SHORT] for cell in cells if cell.environment})
