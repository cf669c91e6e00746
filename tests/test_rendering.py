"""The large store that is rendered is made of real cells, and what rendering takes is measured from outside."""

import json
from pathlib import Path

import pytest

from analysis.load import read
from experiments import rendering
from experiments.harness.store import sealed

GROWTH = Path(__file__).parent.parent / "results" / "published" / "cpu-amd-epyc-2-cores-growth"
NEW = ("digest", "format", "stream_digest", "init_digest", "round_group", "case")


def test_copies_differ_from_real_cells_in_names_seeds_and_draws_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rendering, "SEEDS", {"cost": 2})
    originals = [json.loads(file.read_text()) for file in sorted(GROWTH.glob("cells/cost/*/*.json"))]
    cells = 3 * len(originals) - 5
    size = rendering.enlarge(GROWTH, tmp_path / "large", cells)
    files = sorted((tmp_path / "large").glob("cells/cost/*/*.json"))
    assert len(files) == cells
    assert sum(file.stat().st_size for file in files) == size
    for file in files[::50]:
        copy = json.loads(file.read_text())
        assert sealed(file.read_text())  # or it would be left out, and rendered in no time
        kept = {name: value for name, value in copy.items() if name not in NEW}
        assert any(kept.items() <= original.items() for original in originals)
    loaded = read(tmp_path / "large", "cost")
    assert (len(loaded.cells), loaded.warnings) == (cells, [])
    names = {(cell.case.name.partition("-copy")[2], cell.case.seed) for cell in loaded.cells}
    assert names == {("", 0), ("", 1), ("1", 0)}
    assert len({cell.stream_digest for cell in loaded.cells}) == 3 * len({c["stream_digest"] for c in originals})


def test_what_a_command_took_is_measured_and_its_failure_told(tmp_path: Path) -> None:
    took = rendering.run("--help")
    assert took["wall_s"] > 0 and took["cpu_s"] > 0
    assert 20 < took["peak_rss_mib"] < 1000
    with pytest.raises(RuntimeError, match=r"maml-bench render: .*nothing to render"):
        rendering.run("render", "--results", tmp_path / "absent")
