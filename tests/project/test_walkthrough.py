"""The walk-through notebook runs from top to bottom, and still shows what is stored in it."""

from itertools import groupby
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "walkthrough.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[list[set[str]]]:
    """Of each code cell, the kinds of its outputs; printed lines come in one piece or in several, as time has it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = [[set(output.get("data", {"stream": ""})) for output in cell.outputs] for cell in cells]
    return [[kind for kind, _ in groupby(kinds)] for kinds in found]


@pytest.mark.slow
def test_the_walk_through_runs_and_shows_what_it_showed() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    again = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(again, timeout=240, resources={"metadata": {"path": NOTEBOOK.parent.parent}}).execute()
    assert shown(again) == shown(stored)
    assert sum(map(len, shown(stored))) >= 8
    for cell in again.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "stream" or output.name == "stdout", output.text  # no warnings
