"""Rendering committed cells, of every format there is, gives the committed tables."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.render import render
from experiments.harness.records.cells import FORMATS

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
RUNS = sorted(folder.parent for folder in PUBLISHED.glob("*/cells"))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_committed_tables_are_those_of_the_committed_cells(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "cells", tmp_path / "cells")
    rendered = render(tmp_path, plots=False)
    assert rendered.warnings == []
    committed = {file.name: file.read_text() for file in (run / "tables").iterdir()}
    assert {file.name: file.read_text() for file in (tmp_path / "tables").iterdir()} == committed


def test_there_are_committed_cells_of_every_format() -> None:
    cells = (file for run in RUNS for file in run.glob("cells/*/*/*.json"))
    assert {json.loads(file.read_text())["format"] for file in cells} == {*FORMATS}
