"""The compatibility table: what one pair of versions says, how pairs are merged, and what the figure shows."""

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.checks import compatibility, matrix
from analysis.figures import heatmap
from tests.analysis.results_factory import Store

CASES = {"plain": "ok", "unused": "ok", "steps": "ok"}


def stored(folder: Path, torch: str, python: str, reason: str = "", **statuses: dict[str, str]) -> Path:
    """What `make matrix` leaves of a pair: for each implementation changes to the statuses of CASES."""
    store = folder / f"torch{torch}-py{python}"
    store.mkdir(parents=True)
    (store / "pair.json").write_text(json.dumps({"torch": torch, "python": python, "reason": reason}))
    if not reason:
        write = Store(store)
        environment = write.environment(torch=f"{torch}+cpu", python=f"{python}.7", numpy="1.26.4")
        write.declare(matrix.CHECK)
        for name, changes in ({"unrolled": {}} | statuses).items():
            for case, status in (CASES | changes).items():
                for dtype, error, tolerance in (("float64", 2e-15, 1e-12), ("float32", 3e-6, 1e-4)):
                    judged = {"ok": error, "unavailable": None}.get(status, 0.5)
                    write.cell(
                        matrix.CHECK,
                        name,
                        {"name": case, "dtype": dtype},
                        environment=environment,
                        status=status,
                        reason="" if status == "ok" else f"{case} is {status}",
                        rows=[{"error": judged, "tolerance": tolerance}],
                    )
    return store


def rows(table: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    return {(row.torch, row.python, row.implementation): row.verdict for row in table.itertuples()}


def test_a_pair_is_judged_over_all_cases(tmp_path: Path) -> None:
    statuses = {
        "limited": {"unused": "expected"},
        "broken": {"unused": "expected", "plain": "wrong"},
        "failing": {"plain": "failed"},
        "partial": {"steps": "unavailable"},
        "absent": dict.fromkeys(CASES, "unavailable"),
    }
    table = matrix.pair(stored(tmp_path, "2.0.1", "3.11", **statuses)).set_index("implementation")
    assert dict(table["verdict"]) == {
        "unrolled": "right",
        "limited": "expected",
        "broken": "wrong",
        "failing": "wrong",
        "partial": "right",
        "absent": "unavailable",
    }
    assert table.loc["partial", "reason"] == "steps is unavailable"
    assert list(table.loc["broken", [f"cases_{verdict}" for verdict in compatibility.VERDICTS]]) == [2, 2, 2, 0]
    assert table.loc["unrolled", "error_float64"] == 2e-15
    assert table.loc["unrolled", "of_tolerance_float32"] == pytest.approx(0.03)
    assert table.loc["broken", "of_tolerance_float32"] == pytest.approx(5000)
    assert table.loc["unrolled", "torch_version"] == "2.0.1+cpu"
    assert table.loc["unrolled", "numpy_version"] == "1.26.4"


def test_other_pairs_stay_and_what_was_measured_is_not_lost(tmp_path: Path) -> None:
    first = matrix.merge(
        compatibility.frame(),
        map(
            matrix.pair,
            [
                stored(tmp_path / "a", "2.10.0", "3.11"),
                stored(tmp_path / "a", "2.9.0", "3.10", unrolled={"plain": "wrong"}),
                stored(tmp_path / "a", "2.9.0", "3.9", "there is no Python 3.9 here that starts"),
            ],
        ),
    )
    assert list(rows(first).items()) == [
        (("2.9.0", "3.9", "all"), "unavailable"),
        (("2.9.0", "3.10", "unrolled"), "wrong"),
        (("2.10.0", "3.11", "unrolled"), "right"),
    ]
    later = [
        stored(tmp_path / "b", "2.10.0", "3.11", "the package index could not be reached for torch 2.10.0"),
        stored(tmp_path / "b", "2.9.0", "3.10", added={}),
        stored(tmp_path / "b", "2.9.0", "3.9"),
    ]
    assert rows(matrix.merge(first, map(matrix.pair, later))) == {
        ("2.9.0", "3.9", "unrolled"): "right",
        ("2.9.0", "3.10", "added"): "right",
        ("2.9.0", "3.10", "unrolled"): "right",
        ("2.10.0", "3.11", "unrolled"): "right",
    }


def test_files_are_written_said_and_reproduced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stores = [
        stored(tmp_path, "2.0.1", "3.10", unrolled={"unused": "expected"}, fomaml={"plain": "wrong"}),
        stored(tmp_path, "2.0.1", "3.12", "torch 2.0.1 has no build for Python 3.12"),
    ]
    into = tmp_path / "table"
    matrix.main([*map(str, stores), str(tmp_path / "nothing"), "--into", str(into)])
    assert capsys.readouterr().out.splitlines() == [
        "torch 2.0.1, Python 3.10: 1 expected, 1 wrong",
        "torch 2.0.1, Python 3.12: unavailable: torch 2.0.1 has no build for Python 3.12",
        "nothing: its check did not end, so its rows stay as they were",
    ]
    written = {file.name: file.read_bytes() for file in into.iterdir()}
    assert sorted(written) == [f"compatibility.{ending}" for ending in ("csv", "md", "png", "svg")]
    text = written["compatibility.md"].decode()
    assert " off, 0.500" in text and "| unavailable" in text
    assert "unused is expected" in text and "torch 2.0.1 has no build for Python 3.12" in text
    matrix.main(["--into", str(into)])
    assert {file.name: file.read_bytes() for file in into.iterdir()} == written


def test_nothing_to_show_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        matrix.main(["--into", str(tmp_path)])
    assert ended.value.code == 2
    assert "make matrix" in capsys.readouterr().err


def test_every_cell_of_the_figure_says_its_verdict_and_errors(tmp_path: Path) -> None:
    stores = [
        stored(tmp_path, "2.0.1", "3.11", fomaml=dict.fromkeys(CASES, "unavailable")),
        stored(tmp_path, "2.0.1", "3.12", "torch 2.0.1 has no build for Python 3.12"),
        stored(tmp_path, "2.4.1", "3.11", unrolled={"plain": "wrong"}),
    ]
    figure = heatmap.draw(matrix.merge(compatibility.frame(), map(matrix.pair, stores)))
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
    for words in (
        "6 right",
        "n/a",
        "2 wrong",
        "2.0e-15\n3.0e-06",
        "of 6\n0.500\n0.500",
        "fomaml",
        "unrolled",
        "2.0.1",
        "3.12",
    ):
        assert words in texts, words
    assert "unavailable: torch 2.0.1 has\nno build for Python 3.12" in texts
    assert _inside(figure)


def _inside(figure: Figure) -> bool:
    """Whether no text is cut off at the edge of the figure."""
    figure.draw_without_rendering()
    edges = figure.bbox
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= edges.width and b.y1 <= edges.height for b in boxes)
