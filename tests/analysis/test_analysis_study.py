"""Studies of one factor: which points they have, how cost grows, and the pivot table."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from analysis.columns.frame import with_computed
from analysis.page import Pivot, Slopes
from analysis.render import render
from analysis.statistics import study
from analysis.store.load import load
from analysis.tables.summary import print_summary
from tests.analysis.results_factory import Store

BASE = {"tasks": 25, "inner_steps": 5}
SLOPES = Slopes(name="e_slopes", of=("step_ms", "peak_mib"), factors=("tasks", "inner_steps"))
PIVOT = Pivot(name="e_pivot", value="error", rows="implementation", columns="inner_steps")


def point(store: Store, name: str, factors: dict[str, float], ms: float, mib: float = 1.0, **changes: Any) -> None:
    """Store a case of a study."""
    where = "-".join(f"{factor}{x}" for factor, x in factors.items())
    case = {"name": where, "params": {**BASE, **factors, "study": {"factors": factors}}}
    measured = {"samples": {"step_ms": [[ms], [ms]]}, "rows": [{"peak_mib": mib}], "round_group": f"g {where}"}
    store.cell("e", name, case | changes.pop("case", {}), **(measured | changes))


def fill(store: Store, **declared: Any) -> None:
    """Time grows with tasks², memory by 3 MiB from 10 MiB on with each inner step."""
    store.declare("e", columns={"step_ms": "", "peak_mib": "memory"}, **declared)
    point(store, "i", BASE, 25.0**2, mib=25.0)
    for tasks in (1, 5, 125):
        point(store, "i", {"tasks": tasks}, float(tasks) ** 2, mib=25.0)
    for steps in (0, 1, 9):
        point(store, "i", {"inner_steps": steps}, 8.0, mib=1000.0 if steps == 0 else 10.0 + 3 * steps)


def points(store: Store) -> pd.DataFrame:
    experiment = load(store.results, "e")
    return study.points(experiment, with_computed(experiment))


def test_a_shared_case_is_a_point_of_each_study(store: Store) -> None:
    fill(store)
    values = points(store).groupby("factor")["x"].apply(list).to_dict()
    assert values == {"inner_steps": [0.0, 1.0, 5.0, 9.0], "tasks": [1.0, 5.0, 25.0, 125.0]}
    assert study.base(load(store.results, "e"), ["tasks", "inner_steps", "width"]) == BASE
    assert study.base(load(store.results, "e"), ["tasks"]) == {}


def test_cases_outside_a_study_and_rows_that_are_not_ok_are_no_points(store: Store) -> None:
    store.declare("e")
    store.cell("e", "i")
    assert points(store).empty
    point(store, "i", {"tasks": 1}, 1.0)
    point(store, "i", {"tasks": 2}, 1.0, status="wrong", reason="r")
    assert points(store)["x"].tolist() == [1.0]


def test_of_several_round_groups_the_newest_counts_but_no_reference_timed_again(store: Store) -> None:
    store.declare("e")
    newer = {"round_group": "g2", "finished": "2025-02-01T00:00:00Z"}
    for name in ("again", "reference"):
        point(store, name, {"tasks": 1}, 1.0)
    point(store, "again", {"tasks": 1}, 2.0, **newer)
    point(store, "reference", {"tasks": 1}, 2.0, reference_only=True, **newer)
    point(store, "late", {"tasks": 1}, 2.0, reference_only=True, **newer)
    values = points(store).set_index("implementation")
    assert values["step_ms"].to_dict() == {"again": 2.0, "reference": 1.0, "late": 2.0}
    assert set(values["rounds"]) == {2}


@pytest.mark.parametrize(
    "wrong", [{"factors": {"tasks": -1}}, {"factors": {"tasks": "25"}}, {"factors": {"tasks": True}}, {}, [1]]
)
def test_a_study_that_cannot_be_understood_leaves_the_cell_out(store: Store, wrong: object) -> None:
    store.declare("e")
    store.cell("e", "i", {"params": {"study": wrong}})
    loaded = load(store.results, "e")
    assert not loaded.cells
    assert "left out" in loaded.warnings[0]


def rendered(store: Store) -> Path:
    """The folder of the tables."""
    render(store.results, plots=False)
    return store.results / "tables"


def test_slopes_are_exponents_and_growth_per_inner_step(store: Store) -> None:
    fill(store, tables=(SLOPES,))
    table = pd.read_csv(rendered(store) / "e_slopes.csv").set_index(["quantity", "factor"])
    time = table.loc[("step_ms", "tasks")]
    assert time[["exponent", "exponent_lo", "exponent_hi", "exponent_at_end"]].tolist() == pytest.approx([2] * 4)
    assert time[["points", "from", "to"]].tolist() == [4, 1, 125]
    assert pd.isna(time["per_unit"])
    memory = table.loc[("peak_mib", "inner_steps")]
    assert memory[["per_unit", "per_unit_lo", "per_unit_hi"]].tolist() == pytest.approx([3] * 3)
    assert memory[["points", "from", "to"]].tolist() == [3, 1, 9]  # 0 is on no log axis
    assert memory["exponent_lo"] < memory["exponent"] < memory["exponent_at_end"] < 1


def test_slopes_for_people(store: Store) -> None:
    fill(store, tables=(SLOPES,))
    point(store, "few", {"tasks": 1}, 1.0)
    text = (rendered(store) / "e_slopes.md").read_text()
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles == [
        "# e: slopes",
        "## Exponents of `step_ms`",
        "## Exponents of `peak_mib`",
        "## `step_ms` against `tasks`",
        "## `step_ms` against `inner_steps`",
        "## `peak_mib` against `tasks`",
        "## `peak_mib` against `inner_steps`",
    ]
    assert "inside one round group" in text
    section = text.split("## `step_ms` against `tasks`")[1].split("##")[0]
    assert "| `i`              | maml       | 2.00 (2.00 to 2.00) |              2.00 |        4 |   1–125 |" in section
    assert "Fewer than two points: `few`." in section
    assert "3.00 (3.00–3.00)" in text.split("## `peak_mib` against `inner_steps`")[1]


def test_slopes_of_two_devices_are_not_mixed(store: Store) -> None:
    fill(store, tables=(SLOPES,))
    for tasks in (1, 10):
        point(store, "i", {"tasks": tasks}, 7.0, case={"device": "cuda"})
    table = pd.read_csv(rendered(store) / "e_slopes.csv").query("quantity == 'step_ms' and factor == 'tasks'")
    assert table.set_index("device")["exponent"].to_dict() == pytest.approx({"cpu": 2, "cuda": 0})
    assert table.set_index("device")["exponent_lo"].isna().to_dict() == {"cpu": False, "cuda": True}
    text = (rendered(store) / "e_slopes.md").read_text()
    assert "\ncpu:\n" in text and "\ncuda:\n" in text


def test_the_summary_has_the_exponents(store: Store) -> None:
    fill(store, tables=(SLOPES,))
    console = Console(file=io.StringIO(), width=160)
    print_summary(store.results, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "exponent p of step_ms ~ factor^p" in text
    assert "2.00 (2.00 to 2.00)" in text


def test_a_declared_table_without_data_is_not_written_and_its_old_files_go(store: Store) -> None:
    store.declare("e", tables=(SLOPES, PIVOT))
    store.cell("e", "i")
    folder = store.results / "tables"
    folder.mkdir()
    for name in ("e_slopes.csv", "e_pivot.md"):
        (folder / name).write_text("old")
    assert sorted(file.name for file in rendered(store).iterdir()) == ["e.csv", "e.md"]


def test_a_pivot_has_the_largest_of_all_cases(store: Store) -> None:
    store.declare("e", columns={"error": "how wrong"}, tables=(PIVOT,))
    errors = {1: [1e-7, 3e-7], 10: [2e-6], 2: [None]}
    for steps, values in errors.items():
        for number, error in enumerate(values):
            case = {"name": f"{steps}-{number}", "params": {"inner_steps": steps}}
            store.cell("e", "z-second-order", case, rows=[{"error": error}])
            store.cell("e", "bad", case, computes="fomaml", status="wrong", reason="r", rows=[{"error": 0.5}])
    table = pd.read_csv(rendered(store) / "e_pivot.csv").set_index("implementation")
    assert list(table.columns) == [
        *("device", "dtype", "threads", "computes", "inner_steps 1", "inner_steps 2", "inner_steps 10", "status")
    ]
    assert list(table.index) == ["z-second-order", "bad"]
    assert table.loc["z-second-order", "inner_steps 1"] == 3e-7
    assert pd.isna(table.loc["z-second-order", "inner_steps 2"])
    assert table["status"].to_dict() == {"z-second-order": "ok", "bad": "wrong"}
    text = (store.results / "tables" / "e_pivot.md").read_text()
    assert "The largest `error` (how wrong) over all cases with the same `inner_steps`" in text
    assert "| `z-second-order` | maml       |         3.0e-07 |                 |          2.0e-06 | ok       |" in text
