"""Say whether results come from several machines or versions; tables and figures made from them carry this note."""

from collections.abc import Iterable

from analysis.store.cells import Cell
from analysis.store.load import SHORT


def several(cells: Iterable[Cell]) -> str:
    """Return what the cells come from, in a few words; empty if all are from one machine and its versions."""
    cells = list(cells)
    environments = _environments(cells)
    if len(environments) > 1:
        return f"{len(environments)} environments"
    return "several machines of one kind" if len({cell.machine for cell in cells}) > 1 else ""


def sentence(cells: Iterable[Cell]) -> str:
    """Return the same as a Markdown sentence that names the environments and says what follows; empty likewise."""
    cells = list(cells)
    what, environments = several(cells), _environments(cells)
    if len(environments) > 1:
        named = ", ".join(f"`{environment}`" for environment in environments)
        return f"**From {what}**, which differ in machine or versions: {named}. No ratio of times is made between them."
    return f"**From {what}**; a round group is of one machine." if what else ""


def _environments(cells: list[Cell]) -> list[str]:
    return sorted({cell.environment[:SHORT] for cell in cells if cell.environment})
