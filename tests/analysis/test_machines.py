"""Results of several machines: every table and figure says so, and no slope or ratio is made between them."""

import pandas as pd
import pytest

from analysis.columns.frame import with_computed
from analysis.page import Pivot, Scaling, Slopes
from analysis.render import render
from analysis.report import report
from analysis.store.load import load
from analysis.store.machines import several
from analysis.tables import answer
from tests.analysis.results_factory import Store

OF_TWO = "From 2 environments"
DECLARED = {
    "columns": {"step_ms": "", "error": ""},
    "shown": ["step_ms", "error"],
    "references": ["unrolled"],
    "ratio_of": "step_ms",
    "tables": (
        Slopes(name="e_slopes", of=("step_ms",), factors=("tasks",)),
        Pivot(name="e_pivot", value="error", rows="implementation", columns="tasks"),
    ),
    "figures": (Scaling(name="e_scaling", title="Cost", value="step_ms", factors={"tasks": "tasks"}),),
}


@pytest.fixture
def mixed(store: Store) -> Store:
    """Time grows with tasks² on either machine; the one that measured the large cases is ten times as slow."""
    store.declare("e", **DECLARED)
    fast, slow = store.environment(), store.environment(device_model="Slow CPU", cpu_model="Slow CPU")
    for tasks, environment, factor in ((1, fast, 1), (5, fast, 1), (25, slow, 10), (125, slow, 10)):
        case = {"name": f"tasks{tasks}", "params": {"tasks": tasks, "study": {"factors": {"tasks": tasks}}}}
        samples = {"step_ms": [[factor * tasks**2.0], [factor * tasks**2.0]]}
        rows = [{"error": 1e-9, "tasks": tasks}]
        store.cell("e", "unrolled", case, samples=samples, rows=rows, round_group="g", environment=environment)
    return store


def test_a_slope_is_of_one_machine(mixed: Store) -> None:
    render(mixed.results, plots=False)
    slopes = pd.read_csv(mixed.results / "tables" / "e_slopes.csv")
    assert slopes["environment"].nunique() == 2
    assert slopes["exponent"].tolist() == pytest.approx([2.0, 2.0])  # over all four points it were larger
    assert slopes[["from", "to"]].to_numpy().tolist() in ([[1, 5], [25, 125]], [[25, 125], [1, 5]])


def test_every_table_and_figure_says_so(mixed: Store) -> None:
    page, rendered = report(mixed.results)
    tables = [file for file in rendered.files if file.suffix == ".md"]
    assert {file.stem for file in tables} == {"e", "e_slopes", "e_pivot"}
    assert all(OF_TWO in file.read_text() for file in tables)
    (figure,) = (file for file in rendered.files if file.suffix == ".svg")
    assert "Cost (from 2 environments)" in figure.read_text()
    assert page.read_text().count(OF_TWO) == 2  # who is right, and the chapter


def test_the_fastest_is_told_for_each_machine(store: Store) -> None:
    store.declare("e", **DECLARED)
    environments = [store.environment(), store.environment(device_model="Slow CPU")]
    for name, seed, (environment, ms) in (
        (name, seed, measured)
        for name in ("unrolled", "other")
        for seed, measured in enumerate(zip(environments, (1.0, 9.0), strict=True))
    ):
        samples = {"step_ms": [[ms + (name == "other")]] * 3}
        store.cell("e", name, {"seed": seed}, samples=samples, round_group=f"g{seed}", environment=environment)
    experiment = load(store.results, "e")
    table = answer.fastest(experiment, with_computed(experiment))
    assert table["fastest"] == ["unrolled", "unrolled"]
    assert sorted(table["step_ms"]) == ["1.00 (1.00–1.00)", "9.00 (9.00–9.00)"]
    assert all("environment" in setting for setting in table["setting"])


def test_machines_of_one_kind_are_told_too_and_one_alone_is_not(store: Store) -> None:
    store.declare("e", columns={"v": ""}, shown=["v"])
    store.cell("e", "i", rows=[{"v": 1.0}], machine="a")
    assert several(load(store.results, "e").cells) == ""
    store.cell("e", "j", rows=[{"v": 2.0}], machine="b")
    assert several(load(store.results, "e").cells) == "several machines of one kind"
    render(store.results, plots=False)
    assert "From several machines of one kind" in (store.results / "tables" / "e.md").read_text()
