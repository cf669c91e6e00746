"""The first call, for those that compile: which cells have the pass, in which process, and what that process finds."""

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from experiments import cost
from experiments.harness import run
from experiments.harness.experiment import Result
from experiments.harness.processes.schedule import Job, in_turns
from experiments.harness.records import Case, Status
from experiments.harness.records.messages import End
from experiments.harness.run import Plan
from tests.conftest import SMALL, bench
from tests.harness.runs import RIGHT, mine

(FIRST_STEP,) = (p for p in cost.EXPERIMENT.measurements if p.measure is cost.measure_first_step)
COMPILING = RIGHT + "    compiles = True\n"
NOTING = (
    COMPILING
    + """
    def meta_gradient(self, batch):
        import json, os, pathlib
        cache = pathlib.Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        cache.mkdir(exist_ok=True)
        with open({log!r}, "a") as log:
            print(json.dumps([os.getpid(), str(cache), len(list(cache.iterdir()))]), file=log)
        (cache / str(os.getpid())).touch()
        return super().meta_gradient(batch)
"""
)


def finished(work: Generator[float, None, Result]) -> Result:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.fixture
def jobs(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Job]:
    """All that a run of two cases hands to workers, for two implementations that compile and one that does not."""
    seen: list[Job] = []

    def measured(jobs: list[Job], *_: Any, **__: Any) -> list[Job]:
        for job in jobs:
            assert job.cache is not None
            if job.measurement is FIRST_STEP:
                job.cache.mkdir(parents=True)  # refused where there is one already
            job.answers.append(End(Status.OK))
        seen.extend(jobs)
        return jobs

    monkeypatch.setattr(run, "in_turns", measured)
    monkeypatch.setattr(run, "side_by_side", measured)
    monkeypatch.setitem(cost.SIZES, "quick", ((2, 1, 3, 8), (3, 1, 3, 8)))
    files = [mine(tmp_path, COMPILING, name) for name in ("one", "other")]
    plan("cost", implementations=["unrolled", *files]).run()
    return seen


@pytest.mark.parametrize(("repeat", "column"), [(0, "first_step_cold_s"), (1, "first_step_warm_s")])
def test_the_first_process_is_the_cold_one_and_the_second_the_warm_one(repeat: int, column: str) -> None:
    b = bench()
    b.repeat = repeat
    assert list(finished(cost.measure_first_step(b)).row) == [column]


def test_only_implementations_that_compile_are_timed_at_their_first_step(jobs: list[Job]) -> None:
    taking_part = {
        p.name: {job.implementation for job in jobs if job.measurement is p} for p in cost.EXPERIMENT.measurements
    }
    everyone = {"unrolled", "one", "other"}
    assert taking_part == {
        "first step": {"one", "other"},
        "conformance": everyone,
        "memory": everyone,
        "time": everyone,
    }


def test_every_cell_has_a_compile_cache_of_its_own_for_as_long_as_its_case_is_measured(jobs: list[Job]) -> None:
    caches: dict[tuple[str, str], set[Path | None]] = {}
    for job in jobs:
        caches.setdefault((job.case.folder, job.implementation), set()).add(job.cache)
    assert len(caches) == 2 * 3
    assert all(len(of_one_cell) == 1 for of_one_cell in caches.values())  # in every pass the same
    assert len(set.union(*caches.values())) == len(caches)
    assert not any(job.cache and job.cache.exists() for job in jobs)


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_has_compiled(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "cache"
    file = mine(tmp_path, NOTING.format(log=str(log)))
    job = Job(Case("cost", "small", SMALL, "cpu", "float32", 0, 1), "mine", file, None, FIRST_STEP, 60.0, cache)
    in_turns([job], FIRST_STEP.processes["quick"], 1, lambda done: None, seed=0)
    assert [list(end.result.row) for end in job.answers] == [["first_step_cold_s"], ["first_step_warm_s"]]
    (cold, *there), (warm, *then) = (json.loads(line) for line in log.read_text().splitlines())
    assert cold != warm and os.getpid() not in (cold, warm)
    assert (there, then) == ([str(cache), 0], [str(cache), 1])
