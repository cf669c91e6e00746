"""A large store: nothing is read or searched again and again, and figures stay as large as a page."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.columns import losses, peers
from analysis.columns.frame import with_computed
from analysis.columns.losses import Agreement
from analysis.figures import curves, intervals
from analysis.page import Curves, Intervals, Points
from analysis.render import render
from analysis.report import report
from analysis.statistics import sections
from analysis.store import load
from analysis.tables.summary import print_summary
from tests.analysis.results_factory import Store

SEEDS, CASES, IMPLEMENTATIONS = 3, 10, ("fomaml", "other", "unrolled")
FIGURES = (
    Curves(name="c", title="Loss", series="s", x="i", y="loss"),
    Intervals(name="t", title="Time", values=("step_ms",)),
    Points(name="p", title="Errors", values=("error",)),
)


@pytest.fixture
def large(store: Store) -> Store:
    """90 cells that are timed, compared and drawn."""
    store.declare(
        "e",
        columns={"step_ms": "time", "loss": "loss"},
        shown=["step_ms", "loss"],
        references=["unrolled"],
        ratio_of="step_ms",
        compare="loss",
        more=[Agreement(series="s", curve="loss", first=2, tolerance=1e-9, in_dtype="float32")],
        figures=FIGURES,
    )
    environment = store.environment()
    for case in range(CASES):
        for seed in range(SEEDS):
            for i, name in enumerate(IMPLEMENTATIONS):
                store.cell(
                    "e",
                    name,
                    {"name": f"case{case}", "seed": seed},
                    environment=environment,
                    computes="fomaml" if name == "fomaml" else "maml",
                    round_group=f"g{case}-{seed}",
                    samples={"step_ms": [[1.0 + i, 2.0 + i], [1.5 + i]]},
                    observations={"loss": [1.0 + i, 2.0]},
                    rows=[{"error": 1e-7 * (i + 1)}],
                    series={"s": {"i": [0, 1], "loss": [2.0, 1.0 + i]}},
                )
    return store


def test_every_cell_is_read_once_and_sections_are_made_once(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, list[str]] = {}

    def count(module: Any, name: str) -> None:
        original = getattr(module, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            calls.setdefault(name, []).append(str(arguments[-1]))
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, counted)

    monkeypatch.setattr("os.sched_getaffinity", lambda of: {0})  # figures are drawn here, where calls are counted
    count(load, "parse_file")
    count(losses.Difference, "_compare")
    count(sections, "_sections")
    rendered = render(large.results)
    print_summary(large.results, Console(quiet=True), rendered.frames)
    cells = CASES * SEEDS * len(IMPLEMENTATIONS)
    assert len(calls["parse_file"]) == len(set(calls["parse_file"])) == cells
    assert len(calls["_compare"]) == cells / SEEDS  # it is over the seeds
    assert len(calls["_sections"]) == 1
    calls.clear()
    report(large.results)
    assert len(calls["parse_file"]) == cells


def test_peers_are_found_without_a_search_through_all(large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each cell only cells of its own case are asked for their curve."""
    files: list[str] = []
    original = peers.curve
    for module in (peers, losses):
        monkeypatch.setattr(module, "curve", lambda cell, *names: files.append(cell.file) or original(cell, *names))
    with_computed(load.load(large.results, "e"))
    cells = CASES * SEEDS * len(IMPLEMENTATIONS)
    assert len(files) <= cells * (len(IMPLEMENTATIONS) + 2)


def test_a_figure_shows_the_first_cases_and_says_how_many_there_are(large: Store) -> None:
    render(large.results)
    for figure, most in (("c", curves._CASES), ("t", intervals._CASES)):
        text = svg_text(large.results / "plots" / f"{figure}.svg")
        assert f"The first {most} of {CASES} cases; the tables have all." in text
    assert "The first" not in svg_text(large.results / "plots" / "p.svg")  # it has room for more
    assert f"case{CASES - 1}" in (large.results / "tables" / "e.md").read_text()


def svg_text(file: Path) -> str:
    """What an SVG says: matplotlib draws glyphs and keeps the text in comments."""
    lines = file.read_text().splitlines()
    return " ".join(line.strip().removeprefix("<!--").removesuffix("-->").strip() for line in lines if "<!--" in line)
