"""The self-check of the timing: what it measures, and the command. Its verdicts: tests/analysis."""

import csv
import sys
from pathlib import Path

import pytest

from analysis.checks import selfcheck as check
from experiments import cost
from experiments.__main__ import main
from experiments.checks import selfcheck
from experiments.harness import experiment
from experiments.harness.experiment import PROFILES
from experiments.harness.records import Options


def options(profile: str = "quick", seeds: tuple[int, ...] | None = None) -> Options:
    return Options(profile, "cpu", seeds, 1, None)


def test_forty_independent_trials_at_the_settings_of_cost_in_every_profile() -> None:
    (setting, *_) = cost.cases(options("full"))
    (timed,) = (p for p in cost.EXPERIMENT.measurements if p.name == "time")
    (declared,) = selfcheck.EXPERIMENT.measurements
    for profile in PROFILES:
        trials = selfcheck.cases(options(profile))
        assert len({trial.folder for trial in trials}) == 40
        assert len({trial.seed for trial in trials}) == 40  # the seed draws the order of turns
        assert {(trial.experiment, trial.name) for trial in trials} == {("selfcheck", setting.name)}
        assert all(trial.params == setting.params for trial in trials)
        assert declared.processes[profile] == timed.processes["full"]
    assert [trial.seed for trial in selfcheck.cases(options(seeds=(3, 5)))] == [3, 5]
    assert declared.timed
    assert not experiment.load("selfcheck").by_default


def test_slowed_takes_five_per_cent_of_each_call_longer() -> None:
    now, ticks = 0.0, iter([100.0, 400.0])

    def clock() -> float:
        nonlocal now
        now += 0.001  # reading it takes time, too
        return now

    def call(prepared: object) -> None:
        nonlocal now
        now += next(ticks)

    longer = selfcheck.slowed(call, clock)
    for cost_s in (100.0, 400.0):
        start = now
        longer(None)
        assert cost_s * 1.05 <= now - start <= cost_s * 1.05 + 0.01


def test_what_is_checked_is_what_is_measured() -> None:
    declared = selfcheck.EXPERIMENT
    assert declared.compared is not None
    assert set(declared.compared) == {check.REFERENCE, *check.BOUNDS}
    assert declared.references == (check.REFERENCE,)
    assert experiment.load(check.EXPERIMENT) is declared


def test_the_command_measures_once_tells_counts_and_fails_where_a_bound_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selfcheck, "TRIALS", 1)
    monkeypatch.setitem(cost.SIZES, "full", ((2, 1, 3, 8),))
    monkeypatch.setitem(cost.ROUNDS, "full", 1)
    monkeypatch.setitem(selfcheck.EXPERIMENT.measurements[0].processes, "quick", 1)  # which decides nothing

    def call() -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["maml-bench", "selfcheck", "--device", "cpu"])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = call()
    assert code == 1
    assert "not passed" in out
    with (tmp_path / "results" / "tables" / "selfcheck.csv").open() as lines:
        rows = {row["implementation"]: row for row in csv.DictReader(lines)}
    assert {name: (row["status"], row["verdict_vs_reference"]) for name, row in rows.items()} == {
        "reference": ("ok", "reference"),
        "again": ("ok", "undecided"),
        "slowed": ("ok", "undecided"),
    }
    stored = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/cells/selfcheck/*/*.json")}
    monkeypatch.setitem(check.BOUNDS, "slowed", check.Bound("with itself", ("slower",), most=1))
    code, out = call()
    assert code == 0
    assert "not passed" not in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/cells/selfcheck/*/*.json")} == stored
