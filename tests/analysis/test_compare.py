"""Two results folders beside each other: each verdict from data that call for it."""

from pathlib import Path
from typing import Any

import pytest

from analysis.checks.compare import NothingToCompare, compare
from tests.analysis.results_factory import Store


def timed(folder: Path, ms: dict[str, float], machine: float = 1.0, **changes: Any) -> Path:
    """A folder with one timed case; `machine` slows everything in it."""
    store = Store(folder)
    store.declare("speed", columns={"step_ms": ""}, references=["ref"], ratio_of="step_ms")
    for name, value in {"ref": 10.0, **ms}.items():
        samples = {"step_ms": [[value * machine * f] * 3 for f in (0.999, 1.0, 1.001)]}
        store.cell("speed", name, round_group="g", samples=samples, **changes)
    return folder


def verdicts(first: Path, second: Path) -> dict[str, str]:
    return {finding.implementation: finding.verdict for finding in compare(first, second)}


def test_speedups_are_compared_and_times_are_not(tmp_path: Path) -> None:
    before = timed(tmp_path / "a", {"faster": 5.0, "slower": 5.0, "same": 5.0})
    after = timed(tmp_path / "b", {"faster": 4.0, "slower": 6.0, "same": 5.0}, machine=3.0)
    assert verdicts(before, after) == {"faster": "better", "slower": "worse", "same": "same"}


def test_a_noisy_run_decides_nothing(tmp_path: Path) -> None:
    before = timed(tmp_path / "a", {"own": 5.0})
    after = timed(tmp_path / "b", {})
    store = Store(after)
    store.cell("speed", "own", round_group="g", samples={"step_ms": [[2.0], [5.0], [9.0]]})
    assert verdicts(before, after)["own"] == "undecided"


def test_what_fails_now_what_is_mended_and_what_had_other_tasks(tmp_path: Path) -> None:
    folders = []
    for name, statuses in (("a", ("ok", "failed", "ok", "wrong")), ("b", ("wrong", "ok", "ok", "wrong"))):
        store = Store(tmp_path / name)
        store.declare("e", columns={})
        for implementation, status in zip(("broken", "mended", "other", "still"), statuses, strict=True):
            digest = name if implementation == "other" else "the same"
            reason = "" if status == "ok" else "why"
            store.cell(
                "e", implementation, {"name": implementation}, status=status, reason=reason, stream_digest=digest
            )
        folders.append(store.results)
    assert verdicts(*folders) == {
        "broken": "newly failing", "mended": "newly ok", "other": "not comparable", "still": "same",
    }  # fmt: skip


def test_losses_are_paired_over_seeds(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.5)):
        store = Store(tmp_path / name)
        store.declare("train", columns={}, compare="loss")
        for seed in (0, 1, 2):
            for implementation, change in (("worse", shift), ("same", 0.0)):
                losses = [1.0 + seed + change, 2.0 + seed + change + 0.001 * seed]
                store.cell("train", implementation, {"seed": seed}, observations={"loss": losses})
    verdict_by_name = {
        f.implementation: f.verdict for f in compare(tmp_path / "a", tmp_path / "b") if f.quantity == "loss"
    }
    assert verdict_by_name == {"worse": "worse", "same": "same"}


def test_folders_without_a_common_cell_are_refused(tmp_path: Path) -> None:
    one, other = timed(tmp_path / "a", {}), Store(tmp_path / "b")
    other.declare("elsewhere", columns={})
    other.cell("elsewhere", "ref")
    with pytest.raises(NothingToCompare):
        compare(one, other.results)


def test_losses_on_other_tasks_and_speedups_without_a_common_reference_cannot_be_compared(tmp_path: Path) -> None:
    for name, loss in (("a", 1.0), ("b", 9.0)):
        store = Store(tmp_path / name)
        store.declare("train", columns={}, compare="loss")
        store.declare("speed", columns={"step_ms": ""}, references=["ref"], ratio_of="step_ms")
        for seed in (0, 1):
            observed = {"loss": [loss, loss + 0.1]}
            store.cell("train", "own", {"seed": seed}, observations=observed, stream_digest=name)
        store.cell("speed", "alone", round_group="g", samples={"step_ms": [[loss]] * 3})
    findings = compare(tmp_path / "a", tmp_path / "b")
    assert {(f.implementation, f.verdict) for f in findings} == {("own", "not comparable"), ("alone", "not comparable")}
