"""The large store that is rendered is made of real cells, and what rendering takes is measured from outside."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from analysis.checks import limits
from analysis.store.load import read
from experiments.checks import rendering
from experiments.harness.records.cells import parse_cell, sealed
from experiments.harness.status import ROOT
from tests.implementations import CLASSES, COMPILED

GROWTH = ROOT / "results" / "published" / "cpu-amd-epyc-2-cores-growth"
HOLDING = """
import os, sys
if not os.fork():
    kept = b"1" * (200 << 20)
    print("holding", flush=True)
sys.stdin.read()
"""
NEW = ("stream_digest", "init_digest", "round_group", "case")


def test_copies_differ_from_real_cells_in_names_seeds_and_draws_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rendering, "SEEDS", {"cost": 2})
    originals = [parse_cell(json.loads(file.read_text())) for file in sorted(GROWTH.glob("cells/cost/*/*.json"))]
    cells = 3 * len(originals) - 5
    size = rendering.enlarge(GROWTH, tmp_path / "large", cells)
    files = sorted((tmp_path / "large").glob("cells/cost/*/*.json"))
    assert len(files) == cells
    assert sum(file.stat().st_size for file in files) == size
    for file in files[::50]:
        copy = parse_cell(json.loads(file.read_text()))
        assert sealed(file.read_bytes())  # or it would be left out, and rendered in no time
        new = {name: getattr(copy, name) for name in NEW}
        assert copy in [replace(original, **new) for original in originals]
    loaded = read(tmp_path / "large", "cost")
    assert (len(loaded.cells), loaded.warnings) == (cells, [])
    names = {(cell.case.name.partition("-copy")[2], cell.case.seed) for cell in loaded.cells}
    assert names == {("", 0), ("", 1), ("1", 0)}
    assert len({cell.stream_digest for cell in loaded.cells}) == 3 * len({cell.stream_digest for cell in originals})


def test_the_small_store_is_of_all_implementations_that_do_not_compile() -> None:
    assert rendering.uncompiled() == sorted({*CLASSES} - COMPILED)


def test_what_a_command_took_is_measured_and_its_failure_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rendering, "POLL_S", 0.002)
    took = rendering.run("--help")
    assert took["wall_s"] > 0 and took["cpu_s"] > 0
    assert 20 < took["peak_memory_mib"] < 1000
    with pytest.raises(RuntimeError, match=r"maml-bench render: .*nothing to render"):
        rendering.run("render", "--results", tmp_path / "absent")


def test_what_only_renders_imports_no_torch() -> None:
    modules = "experiments.__main__, analysis.render, analysis.report, analysis.tables.summary"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_memory_of_processes_beside_it_is_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDING], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "holding\n"
        held = rendering.held_mib(process.pid)
        process.communicate()
    assert 200 < held < 300
    assert rendering.held_mib(process.pid) == 0  # it has ended


@pytest.mark.parametrize(
    ("wall_s", "mib", "problems"),
    [
        (30.0, 2048.0, []),
        (30.1, 100.0, ["rendering, maml-bench: render took 30.1 s and 100 MiB"]),
        (3.0, 2049.0, ["rendering, maml-bench: render took 3.0 s and 2049 MiB"]),
    ],
)
def test_a_limit_that_is_not_kept_is_told(wall_s: float, mib: float, problems: list[str]) -> None:
    row = {"status": "ok", "reason": "", "command": "render", "wall_s": wall_s, "peak_memory_mib": mib}
    rows = pd.DataFrame([row | {"limits": rendering.judged(wall_s, mib)}])
    cell = SimpleNamespace(
        case=SimpleNamespace(id="store"), implementation="maml-bench", environment="here", finished="now"
    )
    experiment: Any = SimpleNamespace(cells=[cell])
    asked = [("rendering", "store", "maml-bench")]
    assert list(limits.problems({"rendering": (experiment, rows)}, asked, "here")) == problems
