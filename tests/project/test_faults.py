"""What can happen to a run: a few of the faults of `make faults`, and their pieces one by one."""

import errno
import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from experiments.harness import run as running
from experiments.harness.processes.limits import installed, resident
from experiments.harness.processes.schedule import Job
from experiments.harness.records import Environment, files
from experiments.harness.records.cells import FORMAT, sealed
from experiments.harness.sources import Sources
from experiments.harness.store import Store
from tests.conftest import Call
from tests.faults import of_runs
from tests.faults.of_children import BODIES, HEAD
from tests.faults.of_files import DAMAGES
from tests.faults.runs import compare, measured, undisturbed
from tests.harness.runs import BODY, RIGHT, MakePlan, cells, mine
from tests.harness.test_current import CELL


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "undisturbed", "--cases", "tanh*", experiments=("metagradient",))
    (tmp_path / "disturbed").mkdir()
    assert of_runs.killed(expected, tmp_path / "disturbed", 1) == (1, 1, 0, 0, "")


def test_what_is_compared_tells_lost_and_wrong_cells() -> None:
    one, other = {"rows": [{"loss": 1.0}]}, {"rows": [{"loss": 1.0000000000000002}]}
    assert compare({"a": one, "b": one}, {"a": one, "b": one}) == (0, 0)
    assert compare({"a": one, "b": one}, {"a": other}) == (1, 1)
    assert compare({"a": one}, {"a": one, "b": one}) == (0, 1)
    assert measured("measured now: 12 ok, 3 failed\n") == 15


def test_a_second_run_waits_for_the_first_and_measures_nothing_twice(plan: MakePlan) -> None:
    first, second = plan("create_graph"), plan("create_graph")
    assert [missing for _, missing, _ in second.todo("create_graph")] == [["pytorch"]]
    waits = threading.Event()
    waiting = threading.Thread(target=second.run, kwargs={"say": lambda line: waits.set()})
    with first.store.alone(lambda: pytest.fail("there is no other")):
        waiting.start()
        assert waits.wait(20)
        first._run(running.silent)
    waiting.join(60)
    assert first.statuses == {"ok": 1} and second.statuses == {}


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    torn = store.cells / "create_graph" / "case" / ".x.part"
    torn.parent.mkdir(parents=True)
    torn.write_text("{")
    with store.alone(lambda: None):
        assert not torn.exists()


def test_a_full_disk_is_one_line_and_loses_nothing(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    code, _, err = call("run", "create_graph", "--results", "here")
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert "the results folder here cannot be written: No space left on device; what is finished is kept" in err
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("run", "create_graph", "--results", "here")
    assert code == 0 and "measured now: 1 ok" in out


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cell_that_is_not_as_it_was_written_is_set_aside(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    path = store.cells / "create_graph" / "case" / "mine.json"
    cell = replace(CELL, rows=[{"loss": 0.25}, {"loss": 17}])
    store.write_cell(path, cell)
    assert store.read(path) == cell
    path.write_text(DAMAGES[damage](path.read_text(), random.Random(5)))
    assert store.read(path) is None
    assert path.with_suffix(".damaged").exists() and len(store.warnings) == 1


def test_a_cell_of_the_first_format_has_no_seal_and_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.cells / "create_graph" / "case" / "mine.json"
    store.write_cell(path, CELL)
    assert sealed(path.read_bytes())
    cell = json.loads(path.read_text()) | {"format": 1, "experiment": CELL.experiment}
    path.write_text(json.dumps({name: cell[name] for name in cell if name != "digest"}))
    assert store.read(path) == CELL
    path.write_text(json.dumps(cell | {"format": FORMAT + 1}))
    assert store.read(path) is None
    path.write_text(json.dumps(cell | {"format": 2, "digest": "0" * 64}))
    assert store.read(path) is None


@pytest.mark.slow
def test_what_is_measured_last_is_the_newest_even_if_the_clock_goes_back(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan("create_graph").run()
    monkeypatch.setattr(running.time, "gmtime", lambda: time.struct_time((1999, 1, 1, 0, 0, 0, 0, 0, 0)))
    again = plan("create_graph", fresh=True)
    (before,) = (cell["finished"] for cell in cells(again, "create_graph"))
    again.run()
    (after,) = (cell["finished"] for cell in cells(again, "create_graph"))
    assert after == before > "2026"


@pytest.mark.slow
def test_a_hanging_child_is_ended_with_what_it_started_and_holds_up_nobody(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs in its preparation, while the others prepare beside it."""
    marker = 98_765.4321
    text = RIGHT + BODY.format(
        "import subprocess, time\n"
        "        if batch.query_x.dtype.itemsize == 8:  # in the verification, not where memory is measured\n"
        f"            subprocess.Popen(['sleep', '{marker}']); print('rubbish' * 1000); time.sleep(600)\n"
        "        return super().meta_gradient(batch)"
    )
    run = plan("cost", implementations=["unrolled", "fomaml", mine(tmp_path, text)], timeout=40)
    own = run._job
    soon = 15  # for the one that hangs; the others may take as long as a slow machine needs
    monkeypatch.setattr(run, "_job", lambda case, name, *more: _within(own(case, name, *more), soon))
    start = time.monotonic()
    run.run()
    assert time.monotonic() - start < 300
    statuses = {c["implementation"]: (c["status"], c["reason"]) for c in cells(run)}
    assert statuses["unrolled"] == statuses["fomaml"] == ("ok", "")
    assert statuses["mine"] == ("timeout", "it did not finish within the time limit")
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(marker) in " ".join(p.info["cmdline"] or [])]

    def left(timeout: float) -> list[list[str]]:
        again = plan("cost", implementations=["unrolled", tmp_path / "mine.py"], timeout=timeout)
        return [missing for _, missing, _ in again.todo("cost")]

    assert left(40) == [[]]
    assert left(41) == [["mine"]]  # with more time it may finish


def _within(job: Job, limit: float) -> Job:
    return replace(job, timeout=limit) if job.implementation == "mine" else job


@pytest.mark.slow
def test_who_takes_too_much_memory_is_one_row_that_says_so(plan: MakePlan, tmp_path: Path) -> None:
    body, status, _ = BODIES["takes all memory"]
    file = tmp_path / "greedy.py"
    file.write_text(HEAD.format(body))
    run = plan("training", implementations=["unrolled", file], memory=1.5)
    run.run()
    found = {c["implementation"]: (c["status"], c["reason"]) for c in cells(run, "training")}
    assert found["unrolled"] == ("ok", "")
    assert found["greedy"][0] == status
    assert found["greedy"][1].startswith("it held 1.") and "more than the 1.5 GiB allowed" in found["greedy"][1]


def test_memory_that_there_is_and_that_is_held() -> None:
    holding = "kept = b'1' * (100 << 20); print('holding', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1) as beside:
        assert beside.stdout is not None and beside.stdout.readline() == b"holding\n"
        told = sum(psutil.Process(pid).memory_info().rss for pid in (os.getpid(), beside.pid))
        assert resident(os.getpid()) == pytest.approx(told, rel=0.02)
        beside.communicate(b"\n")
    assert resident(os.getpid()) < installed() < float("inf")
    assert resident(2**22 + 1) == 0


def test_a_damaged_environment_is_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.write_environment(Environment(torch="2.13.0"))
    file = store.cells / "environments" / f"{name}.json"
    whole = file.read_text()
    file.write_text("x")
    assert store.write_environment(Environment(torch="2.13.0")) == name and file.read_text() == whole


def test_a_source_that_no_file_can_be_called_has_changed() -> None:
    assert not Sources({}).unchanged(replace(CELL, sources={"a" * 300: "0"}))


def test_where_nothing_can_be_rendered_the_reason_is_told(call: Call, tmp_path: Path) -> None:
    damaged = tmp_path / "here" / "cells" / "cost" / "case" / "mine.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    code, _, err = call("render", "--results", "here")
    assert code == 2 and "run `maml-bench run` first; 1 left out, such as cost: cells/cost/case/mine.json" in err
