"""The self-check's verdicts: counted over trials, held against bounds, and told where they are missing."""

import io
from typing import Any

import pytest
from rich.console import Console

from analysis.checks.selfcheck import BOUNDS, CaseId, outcomes, table
from analysis.render import render
from tests.analysis.results_factory import Store

SAME, SLOWER, FASTER = [10.0] * 4, [10.5, 10.6, 10.5, 10.6], [9.5, 9.4, 9.5, 9.4]
UNDECIDED = [9.0, 11.0, 9.5, 10.5]


@pytest.fixture
def trials(store: Store) -> list[CaseId]:
    """40 trials that keep the bounds; the same times would be too good to be true, but are easy to read."""
    store.declare("selfcheck", references=["reference"], ratio_of="step_ms", columns={"step_ms": "ms"})
    for seed in range(40):
        for implementation, medians in (("reference", SAME), ("again", SAME), ("slowed", SLOWER)):
            put(store, implementation, seed, medians)
    return [("plain", "cpu", "float32", 1, seed) for seed in range(40)]


def put(store: Store, implementation: str, seed: int, medians: list[float], **changes: Any) -> None:
    """Store one cell, in the place of the one that is there."""
    samples = {"step_ms": [[median] for median in medians]}
    fields = {"samples": samples, "round_group": f"group{seed}", "computes": ""} | changes
    store.cell("selfcheck", implementation, {"seed": seed}, key="k", **fields)


def judged(store: Store, trials: list[CaseId]) -> dict[str, tuple[dict[str, int], bool, list[str]]]:
    outcome_list = outcomes(store.results, trials, store.environment())
    return {name: (dict(o.counts), o.passed, o.missing) for name, o in zip(BOUNDS, outcome_list, strict=True)}


def test_bounds_that_are_kept(store: Store, trials: list[CaseId]) -> None:
    for seed, medians in enumerate([FASTER] * 2 + [SLOWER] * 3 + [UNDECIDED]):
        put(store, "again", seed, medians)
    for seed, medians in enumerate([FASTER] + [SAME] * 3 + [UNDECIDED] * 4):
        put(store, "slowed", seed, medians)
    assert judged(store, trials) == {
        "again": ({"faster": 2, "slower": 3, "same": 34, "undecided": 1}, True, []),
        "slowed": ({"slower": 32, "faster": 1, "same": 3, "undecided": 4}, True, []),
    }


@pytest.mark.parametrize(("implementation", "medians", "often"), [("again", SLOWER, 6), ("slowed", UNDECIDED, 9)])
def test_a_bound_that_is_broken(
    store: Store, trials: list[CaseId], implementation: str, medians: list[float], often: int
) -> None:
    for seed in range(often - 1):
        put(store, implementation, seed, medians)
    assert {name: passed for name, (_, passed, _) in judged(store, trials).items()} == dict.fromkeys(BOUNDS, True)
    put(store, implementation, often, medians)
    assert {name: passed for name, (_, passed, _) in judged(store, trials).items()} == {
        name: name != implementation for name in BOUNDS
    }


def test_a_trial_without_a_verdict_is_told_and_not_passed(store: Store, trials: list[CaseId]) -> None:
    put(store, "again", 3, SAME, status="failed", reason="out of luck")
    put(store, "reference", 5, SAME, status="timeout", reason="too slow")
    put(store, "slowed", 7, SLOWER, round_group="another")
    put(store, "slowed", 8, SLOWER, environment="elsewhere")
    verdicts = judged(store, trials)
    assert verdicts["again"] == (
        {"same": 38},
        False,
        [
            "trial 3, again: no verdict: again failed: out of luck",
            "trial 5, again: no verdict: reference timeout: too slow",
        ],
    )
    counts, passed, missing = verdicts["slowed"]
    assert (counts, passed) == ({"slower": 37}, False)
    assert missing == [
        "trial 5, slowed: no verdict: reference timeout: too slow",
        "trial 7, slowed: no verdict: not timed in one round group with its reference",
        "trial 8, slowed: no verdict: not measured",
    ]


def test_nothing_but_failures(store: Store) -> None:
    store.declare("selfcheck", references=["reference"], ratio_of="step_ms")
    put(store, "again", 0, [], status="failed", reason="out of luck")
    verdicts = judged(store, [("plain", "cpu", "float32", 1, 0)])
    assert verdicts["again"] == ({}, False, ["trial 0, again: no verdict: again failed: out of luck"])


def test_the_newest_verdict_of_a_trial_counts(store: Store, trials: list[CaseId]) -> None:
    for implementation, medians in (("reference", SAME), ("again", SAME), ("slowed", SAME)):
        put(store, implementation, 0, medians, round_group="later", finished="2026-01-01T00:00:00Z", note="again")
        later = store.cells / "selfcheck" / "plain-cpu-float32-0-1" / f"{implementation}.k.json"
        later.rename(later.with_name(f"{implementation}.later.json"))
        put(store, implementation, 0, SLOWER if implementation == "slowed" else SAME)
    assert judged(store, trials)["slowed"][0] == {"same": 1, "slower": 39}


def test_the_table_says_what_was_compared_and_what_came_out(store: Store, trials: list[CaseId]) -> None:
    for seed in range(9):
        put(store, "slowed", seed, UNDECIDED)
    console = Console(file=io.StringIO(), width=140)
    console.print(table(outcomes(store.results, trials, store.environment())))
    assert isinstance(console.file, io.StringIO)
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines()]
    assert ["with itself", "40", "0", "0", "40", "0", "at most 5 faster or slower", "passed"] in lines
    assert ["with itself, slowed by 5 %", "40", "0", "31", "0", "9", "at least 32 slower", "not passed"] in lines


def test_markdown_has_one_line_per_implementation_and_csv_one_per_trial(store: Store, trials: list[CaseId]) -> None:
    render(store.results, ["selfcheck"], plots=False)
    tables = store.results / "tables"
    lines = (tables / "selfcheck.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| `")]) == 3
    (conditions,) = (line for line in lines if line.startswith("cpu; "))
    assert "; 40 streams; 40 initial weight draws; " in conditions
    assert len((tables / "selfcheck.csv").read_text().splitlines()) == 1 + 3 * 40
