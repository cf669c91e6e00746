"""Published and measured numbers: verdicts on made-up papers, with and without enough seeds."""

import math
from typing import Any

import pytest

from analysis.columns.frame import with_computed
from analysis.page import Reproduction
from analysis.render import render
from analysis.store.load import load
from analysis.tables import reproduction
from tests.analysis.results_factory import Store

SPEC = Reproduction(
    name="verdicts",
    value="loss",
    median="middle",
    task_half_width="half",
    published="published",
    half_width="published_half",
    by=("shots_in_testing",),
    against="maml",
    margin=0.1,
)
PUBLISHED = {"exact": 1.0, "above": 2.0, "below": 0.5, "vague": 1.0}


def fill(store: Store, seeds: int) -> None:
    store.declare("repro", columns={"loss": "", "half": ""}, shown=["loss"], tables=(SPEC,))
    for seed in range(seeds):
        for name, value in {**PUBLISHED, "maml": None}.items():
            loss = 1.0 + 0.001 * seed + (0.5 if name == "maml" else 0.0)
            row: dict[str, Any] = {
                "shots_in_testing": 5,
                "loss": loss,
                "middle": 0.7,
                "half": 0.01,
                "source": "a paper",
            }
            if value is not None:
                row |= {"published": value, "published_half": 0.5 if name == "vague" else 0.01}
            store.cell("repro", name, {"seed": seed}, rows=[row])


def table(store: Store) -> dict[str, dict[str, Any]]:
    experiment = load(store.results, "repro")
    lines = reproduction.frame(SPEC, experiment, with_computed(experiment))
    return {row["implementation"]: row for row in lines.to_dict("records")}


def test_verdicts_follow_the_whole_corrected_interval(store: Store) -> None:
    fill(store, seeds=3)
    lines = table(store)
    assert {name: row["verdict"] for name, row in lines.items()} == {
        "exact": "agrees", "above": "better", "below": "worse", "vague": "undecided", "maml": "not comparable",
    }  # fmt: skip
    exact = lines["exact"]
    # s = 0.001 over 3 seeds; z of 1 − 0.05/(2·4) is 2.4977
    error = math.sqrt(2 * (0.01 / 1.96) ** 2 + 0.001**2 * (1 + 1 / 3))
    assert exact["difference"] == pytest.approx(0.001)
    assert exact["difference_hi"] - exact["difference"] == pytest.approx(2.49771 * error, rel=1e-4)
    assert exact["minus_maml"] == pytest.approx(-0.5)
    assert exact["minus_maml_hi"] == pytest.approx(-0.5)
    assert math.isnan(lines["maml"]["minus_maml"])


def test_one_seed_compares_nothing(store: Store) -> None:
    fill(store, seeds=1)
    assert {row["verdict"] for row in table(store).values()} == {"not comparable"}


def test_a_seed_that_is_not_finite_leaves_no_mean(store: Store) -> None:
    fill(store, seeds=2)
    row = {"shots_in_testing": 5, "loss": None, "middle": 0.9, "half": None, "published": 1.0, "published_half": 0.01}
    for name in ("exact", "maml"):
        store.cell("repro", name, {"seed": 2}, rows=[row])
    exact = table(store)["exact"]
    assert (exact["verdict"], exact["seeds"], exact["seeds_not_finite"]) == ("not comparable", 3, 1)
    assert math.isnan(exact["loss"]) and math.isnan(exact["minus_maml"])
    assert exact["middle"] == pytest.approx((0.7 + 0.7 + 0.9) / 3)
    render(store.results)
    assert "not finite (1 of 3 seeds)" in (store.results / "tables" / "verdicts.md").read_text()


def test_it_is_rendered_beside_the_experiment_s_own_table(store: Store) -> None:
    fill(store, seeds=3)
    files = {file.name for file in render(store.results).files}
    assert {"verdicts.csv", "verdicts.md", "repro.csv", "repro.md"} <= files
    text = (store.results / "tables" / "verdicts.md").read_text()
    assert "2 ± 0.01" in text
    assert "better" in text and "3 seeds." in text
