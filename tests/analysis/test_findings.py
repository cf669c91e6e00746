"""The page of findings and the tables that other pages quote are those of the published results."""

import csv
import io
import shutil
from pathlib import Path

import pytest

from analysis.findings.__main__ import FILLED, FINDINGS, ROOT, RUNS, fill_pages
from analysis.findings.published import Missing, Run
from analysis.findings.tables import HEADLINE, claim

COST = Path("results", "published", RUNS["timed"], "tables", "cost.csv")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project with the published tables and plots, and the pages that are filled."""
    shutil.copytree(
        ROOT / "results" / "published", tmp_path / "results" / "published", ignore=shutil.ignore_patterns("cells")
    )
    (tmp_path / "docs").mkdir()
    for page in FILLED:
        shutil.copy(ROOT / page, tmp_path / page)
    return tmp_path


def test_committed_pages_are_what_the_published_results_give() -> None:
    pages = fill_pages()
    assert pages.keys() == {FINDINGS, *FILLED}
    for page, text in pages.items():
        assert (ROOT / page).read_text() == text, f"{page}: run `make findings`"


def test_a_number_that_changes_changes_the_pages(copy: Path) -> None:
    table = (copy / COST).read_text()
    rows = csv.DictReader(io.StringIO(table))
    (number,) = {row["step_ms"] for row in rows if (row["case"], row["implementation"]) == (HEADLINE, "higher")}
    (copy / COST).write_text(table.replace(number, "456.7"))
    before, after = fill_pages(), fill_pages(copy)
    assert f"| {float(number):.0f} (" in before[FINDINGS].replace("    ", " ").replace("  ", " ")
    assert "457 (" in after[FINDINGS] and "457 (" in after[Path("README.md")]


def test_a_row_that_is_missing_is_named_in_one_line(copy: Path) -> None:
    lines = (copy / COST).read_text().splitlines(keepends=True)
    (copy / COST).write_text("".join(line for line in lines if f"{HEADLINE},jax-mixed-mode," not in line))
    with pytest.raises(Missing, match=f"cost.csv: no row with .*case {HEADLINE}.* implementation jax-mixed"):
        fill_pages(copy)


def test_tables_columns_and_plots_that_are_missing_are_named(copy: Path) -> None:
    run = Run(RUNS["timed"], copy / "results" / "published")
    for call in (
        lambda: run.rows("none"),
        lambda: run.rows("cost", none=1),
        lambda: run.cell("cost", "none", case=HEADLINE, implementation="higher"),
        lambda: run.table("cost", ["none"], case=HEADLINE),
        lambda: run.figure("none", ""),
        lambda: run.link("none"),
    ):
        with pytest.raises(Missing, match="none"):
            call()
    with pytest.raises(Missing, match="rows with implementation higher, not one"):
        run.row("cost", implementation="higher")


def test_a_sentence_that_no_longer_holds_is_refused() -> None:
    assert claim("it holds", True) == ""
    with pytest.raises(Missing, match="no longer support that it holds: change the sentence"):
        claim("it holds", False)


def test_of_several_round_groups_the_newest_of_the_largest_counts(copy: Path) -> None:
    lines = (copy / COST).read_text().splitlines()
    group = lines[0].split(",").index("round_group")
    again = next(line for line in lines if f"{HEADLINE},higher," in line).split(",")
    again[group] = "29990101T000000"
    (copy / COST).write_text("\n".join([*lines, ",".join(again)]) + "\n")
    run = Run(RUNS["timed"], copy / "results" / "published")
    assert run.row("cost", case=HEADLINE, implementation="compiled")
    assert len(run.rows("cost", case=HEADLINE)) == 20
