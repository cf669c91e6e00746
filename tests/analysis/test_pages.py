"""Every experiment has a page that says the same as the experiment; one without shows all that was measured."""

import inspect

import pytest

from analysis import pages
from analysis.columns.column import Column
from analysis.columns.trends import Trend
from analysis.page import Page
from analysis.render import render
from experiments import published
from experiments.checks import rendering, steadiness
from experiments.harness import experiment
from tests.analysis.results_factory import Store


def meanings(name: str) -> dict[str, str]:
    return {column.name: column.meaning for column in pages.find(name).columns}


@pytest.mark.parametrize("name", experiment.names())
def test_a_page_asks_what_its_experiment_asks(name: str) -> None:
    page = pages.find(name)
    assert page.question == experiment.question(name)
    assert tuple(ratio.against for ratio in page.ratios) == experiment.load(name).references
    assert page.shown is not None


@pytest.mark.parametrize("name", pages.names())
def test_every_page_is_rendered_of_whatever_there_is(name: str, store: Store) -> None:
    store.cell(name, "unrolled", rows=[{}])
    store.cell(name, "fomaml", computes="fomaml", status="failed", reason="why", rows=[{}])
    render(store.results)
    text = (store.results / "tables" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n") and "failed: why" in text


def test_a_page_shows_its_own_columns_only() -> None:
    with pytest.raises(ValueError, match="the page shows b, c, which is none of its columns"):
        Page(columns=(Column("a"),), shown=("a", "b", "c"))


def test_there_is_no_page_without_an_experiment() -> None:
    files = inspect.getfile(pages)
    assert files.endswith("__init__.py")
    folder = experiment.FOLDER.parent / "analysis" / "pages"
    assert {file.stem for file in folder.glob("[!_]*.py")} == set(experiment.names())


def test_numbers_in_pages_are_those_of_the_experiments() -> None:
    columns = meanings("published")
    assert f"error of {published.DIVERGED:g} or more" in columns["diverged"]
    assert columns["alpha"].endswith(", ".join(f"{alpha:g}" for alpha in published.GRID))
    assert columns["identity"].startswith(f"largest relative difference from {' and '.join(published.PEERS)} ")
    limits = f"{rendering.MOST_S:.0f} s and {rendering.MOST_MIB:.0f} MiB"
    assert limits in meanings("rendering")["limits"]
    (trend,) = (column for column in pages.find("steadiness").columns if isinstance(column, Trend))
    assert trend.most == steadiness.MOST_MIB


def test_an_experiment_without_a_page_is_shown_with_all_its_columns(store: Store) -> None:
    assert pages.find("mine") == pages.find("no name/of a module") == Page()
    store.cell("mine", "one", rows=[{"distance": 2.5, "words": "far"}], samples={"step_ms": [[1.0], [1.0]]})
    render(store.results)
    text = (store.results / "tables" / "mine.md").read_text()
    assert "| implementation   |   distance | words   |" in text and "step_ms" in text
