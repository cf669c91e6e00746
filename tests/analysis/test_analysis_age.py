"""Rows that were measured with other sources than those of the last run are marked, wherever tables are shown."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.render import render
from analysis.report import report
from analysis.store.age import GONE, OLDER, age
from analysis.store.cells import shown
from experiments.harness.records.cells import parse_cell
from tests.analysis.results_factory import Store

OWN, SHARED, TASKS = "baselines/handwritten/fast_one.py", "baselines/_shared.py", "experiments/problems/tasks/stream.py"
NOW = {OWN: "1", SHARED: "2", TASKS: "3", "baselines/other.py": "4", "external_mine": "5", "external_mine/gone.py": ""}
SAME = {OWN: "1", SHARED: "2", TASKS: "3"}


def left(store: Store, sources: dict[str, str]) -> None:
    """What a run leaves."""
    (store.cells / "sources.json").write_text(json.dumps({"commit": "", "sources": sources}))


def tables(store: Store) -> tuple[pd.DataFrame, str, list[str]]:
    """CSV, Markdown, and what was warned of."""
    rendered = render(store.results, plots=False)
    folder = store.results / "tables"
    csv = pd.read_csv(io.StringIO((folder / "e.csv").read_text()), keep_default_na=False)
    return csv, (folder / "e.md").read_text(), rendered.warnings


@pytest.mark.parametrize(
    ("sources", "mark"),
    [
        ({}, ""),
        (SAME, ""),
        ({OWN: "1"}, ""),
        (SAME | {SHARED: "other"}, OLDER),
        (SAME | {TASKS: "edited"}, OLDER),
        (SAME | {"experiments/problems/tasks/dropped.py": "9"}, OLDER),
        ({SHARED: "2", "baselines/libraries/fast_one.py": "1"}, GONE),
        (SAME | {"baselines/libraries/slow.py": "1"}, OLDER),  # another's
        (SAME | {"external_mine": "5"}, ""),
        (SAME | {"external_mine": "other"}, OLDER),
        (SAME | {"external_mine/gone.py": "7"}, OLDER),
        (SAME | {"external_yours": "8", "external/library/core.py": "9", "aside/helper.py": "9"}, ""),  # unknown now
        (SAME | {"external_yours": "8", SHARED: "other"}, OLDER),
    ],
)
def test_what_differs_from_today_is_said(sources: dict[str, str], mark: str) -> None:
    assert age(sources, "fast-one", NOW) == mark
    assert age(sources, "fast-one", {}) == ""  # nobody knows what there is today


def test_a_cell_keeps_what_is_said_and_not_its_sources(store: Store) -> None:
    store.declare("e")
    raw = json.loads(store.cell("e", "fast-one", sources=SAME | {SHARED: "other"}).read_text())
    assert shown(parse_cell(raw), "file", NOW).age == OLDER
    assert shown(parse_cell(raw), "file", {}).age == ""
    assert not hasattr(shown(parse_cell(raw), "file", NOW), "sources")


def test_rows_are_marked_in_both_tables_and_in_the_report(store: Store) -> None:
    store.declare("e", columns={"x": "a number"}, shown=["x"])
    for name, sources in (("fast-one", SAME), ("old", SAME | {SHARED: "0"}), ("lost", {"baselines/a/lost.py": "1"})):
        store.cell("e", name, sources=sources, rows=[{"x": 1}], note="a note" if name == "old" else "")
    csv, markdown, warnings = tables(store)
    assert set(csv["age"]) == {""} and OLDER not in markdown and not warnings  # without the file nothing is
    left(store, NOW)
    csv, markdown, warnings = tables(store)
    assert csv.set_index("implementation")["age"].to_dict() == {"fast-one": "", "old": OLDER, "lost": GONE}
    rows = [line for line in markdown.splitlines() if line.startswith("| `")]
    assert [row.split("|")[3].strip() for row in rows] == ["ok", f"ok: {GONE}", f"ok: a note; {OLDER}"]
    assert warnings == [
        f"e: 1 cell is marked `{GONE}`: measure again, or remove",
        f"e: 1 cell is marked `{OLDER}`: measure again, or remove",
    ]
    page, _ = report(store.results)
    assert f"ok: {GONE}" in page.read_text() and f"ok: a note; {OLDER}" in page.read_text()


def test_of_several_seeds_it_is_said_how_many(store: Store) -> None:
    store.declare("e")
    left(store, NOW)
    for seed in range(3):
        sources = SAME | {SHARED: "0"} if seed else SAME
        store.cell("e", "fast-one", {"seed": seed}, sources=sources)
    assert f"ok: 2 × {OLDER}" in tables(store)[1]
    store.cell("e", "fast-one", {"seed": 3}, sources=SAME | {TASKS: "0"}, status="failed", reason="no luck")
    assert f"ok: 3 of 4 seeds ok; 1 × failed: no luck; 3 × {OLDER}" in tables(store)[1]


@pytest.mark.parametrize("content", ["", "[]", '{"sources": 3}', "\x00"])
def test_a_damaged_list_of_sources_marks_nothing_and_is_told(store: Store, content: str) -> None:
    store.declare("e")
    store.cell("e", "old", sources={SHARED: "0"})
    (store.cells / "sources.json").write_text(content)
    csv, _, warnings = tables(store)
    assert set(csv["age"]) == {""}
    assert len(warnings) == 1 and "cells/sources.json: left out" in warnings[0]


def test_a_published_run_is_compared_with_its_own_sources_only(store: Store, tmp_path: Path) -> None:
    published = Store(tmp_path / "published" / "machine")
    for where, now in ((store, NOW | {SHARED: "newer"}), (published, NOW)):
        where.declare("e")
        where.cell("e", "fast-one", sources=SAME)
        left(where, now)
    assert set(tables(store)[0]["age"]) == {OLDER}
    assert set(tables(published)[0]["age"]) == {""}


@pytest.mark.parametrize(
    ("commits", "ending"),
    [
        ([""], "TF32 off."),
        (["0123456789ab"], "TF32 off; commit 0123456789ab."),
        (["", "0123456789ab", "0123456789ab and changes"], "commits 0123456789ab, 0123456789ab and changes."),
    ],
)
def test_tables_and_report_name_the_commits(store: Store, commits: list[str], ending: str) -> None:
    store.declare("e")
    changes: list[dict[str, Any]] = [{"commit": commit} if commit else {} for commit in commits]
    for number, changes_of_cell in enumerate(changes):
        store.cell("e", f"i{number}", **changes_of_cell)
    page, _ = report(store.results)
    for text in ((store.results / "tables" / "e.md").read_text(), page.read_text()):
        (line,) = [line for line in text.splitlines() if "Environment" in line and "TF32" in line]
        assert line.removesuffix("</li>").endswith(ending)
