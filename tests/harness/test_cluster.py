"""A real scheduler and worker processes on loopback: nothing is lost, measured twice or timed beside another."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer
from distributed import Client
from distributed.scheduler import KilledWorker

from experiments import metagradient
from experiments.checks import overhead
from experiments.cli import measuring
from experiments.harness.distributed import dask_client, dask_worker
from experiments.harness.distributed.claim import claimed
from experiments.harness.distributed.dask_client import Cluster, connected
from experiments.harness.records import Case, Environment, Options, Status
from experiments.harness.records.messages import Delivery, End, Implementation, Machine
from experiments.harness.refusals import BadRequest
from experiments.harness.run import Plan
from tests.conftest import Call

pytestmark = pytest.mark.xdist_group("cluster")  # one process runs them all, with one cluster
MakePlan = Callable[..., Plan]
NOWHERE = "tcp://127.0.0.1:9"


class Box:
    """A scheduler, and workers that are started and killed as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        self.first: psutil.Process | None = None
        self.timing: psutil.Process | None = None
        file = folder / "scheduler.json"
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)
        self.address = str(eventually(lambda: file.exists() and json.loads(file.read_text())["address"]))

    def start(self, what: str, *arguments: object) -> psutil.Process:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, arguments)]
        with (self.folder / "log").open("a") as log:
            self.started.append(subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log))
        return psutil.Process(self.started[-1].pid)

    def worker(self, *arguments: object) -> psutil.Process:
        """Without a nanny: what is killed stays away."""
        return self.start("worker", self.address, "--no-nanny", "--no-dashboard", "--local-directory", ".", *arguments)

    def first_worker(self) -> psutil.Process:
        """The one that cannot time, started where it is not there."""
        self.first = self.first or self.worker("--nthreads", "1", "--name", "first")
        return self.first

    def timing_worker(self) -> psutil.Process:
        """The one that has a device to claim and two threads, started where it is not there."""
        self.timing = self.timing or self.worker("--nthreads", "2", "--resources", "device=1")
        return self.timing


def eventually(found: Callable[[], Any]) -> Any:
    """What it finds, within the time that a very slow machine takes."""
    deadline = time.monotonic() + 240
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return value


def measuring_children(of: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [child for child in of.children() if "experiments.harness.processes.worker" in child.cmdline()]
    return []


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    started = Box(tmp_path_factory.mktemp("cluster"))
    yield started
    for process in started.started:
        process.kill()
        process.wait()


@contextmanager
def cluster(box: Box, workers: int, timing: bool = False) -> Iterator[Cluster]:
    """Connected once there are so many workers, and among them one that may time."""
    with Client(box.address) as waiting:
        waiting.wait_for_workers(workers, timeout=240)
        eventually(lambda: not timing or any(w["resources"] for w in waiting.scheduler_info()["workers"].values()))
    with connected(box.address) as found:
        yield found


def cells(plan: Plan) -> dict[tuple[str, str], dict[str, Any]]:
    """By case and implementation, of which each may be there once."""
    read = [json.loads(path.read_text()) for path in plan.store.cells.glob("*/*/*.json")]
    found = {(f"{c['case']['name']} {c['case']['dtype']}", c["implementation"]): c for c in read}
    assert len(found) == len(read)
    return found


@pytest.fixture
def judged(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Three cases, of which only results count."""
    monkeypatch.setattr(metagradient, "NETWORKS", {"tanh": metagradient.NETWORKS["tanh"]})
    monkeypatch.setattr(metagradient, "DTYPES", ("float64",))
    return lambda **options: plan("metagradient", implementations=["unrolled"], **options)


def test_without_workers_or_a_resource_to_claim_it_is_refused(box: Box, plan: MakePlan, call: Call) -> None:
    code, out, err = call("run", "create_graph", "--scheduler", box.address)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "the scheduler has no workers yet" in err and "Traceback" not in out + err
    box.first_worker()
    with cluster(box, workers=1) as executor, pytest.raises(BadRequest, match="--resources device=1"):
        plan("cost", "create_graph", implementations=["unrolled"], executor=executor)


@pytest.mark.slow
def test_stopped_and_then_with_a_worker_killed_midway_nothing_is_lost_or_measured_twice(
    box: Box, judged: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = box.first_worker()
    second = box.timing_worker()
    with cluster(box, workers=2) as executor:
        stopped = judged(executor=executor)
        add = stopped.add

        def stop_after_the_first(*arguments: Any) -> None:
            add(*arguments)
            raise KeyboardInterrupt  # as Ctrl-C does; a process in the background may ignore the signal

        monkeypatch.setattr(stopped, "add", stop_after_the_first)
        with pytest.raises(typer.Exit) as ended:
            measuring.measure(stopped)
        assert ended.value.exit_code == 130
        (kept,) = cells(stopped).values()
        eventually(lambda: not measuring_children(first) + measuring_children(second))

        killed: list[psutil.Process] = []

        def kill_midway() -> None:
            killed.extend(eventually(lambda: measuring_children(first)))
            first.kill()

        killer = threading.Thread(target=kill_midway)
        killer.start()
        again = judged(executor=executor)
        again.run()
        killer.join()
    assert killed
    eventually(lambda: gone(killed))
    assert again.statuses == {"ok": 2}  # and the first was not measured again
    found = cells(again)
    assert kept in found.values()
    here = judged(results=tmp_path / "here")
    here.run()
    alone = cells(here)
    assert found.keys() == alone.keys() and len(found) == 3
    for at, cell in found.items():
        for name in ("rows", "stream_digest", "init_digest", "sources", "environment", "observations"):
            assert cell[name] == alone[at][name]
        assert cell["machine"] and alone[at]["machine"] == ""
    assert not [
        m for _, m, _ in replace(here, results=again.results).todo("metagradient") if m
    ]  # here it is there, too


@pytest.mark.slow
def test_a_timed_case_claims_the_device(box: Box, plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases on one worker that has two threads."""

    whole = overhead.EXPERIMENT

    def two(options: Options) -> list[Case]:
        (case,) = whole.cases(options)
        return [replace(case, params=case.params.extended(tasks=1, processes=1), seed=seed) for seed in (0, 1)]

    timing_worker = box.timing_worker()
    with cluster(box, workers=1, timing=True) as executor:
        run = plan("overhead", implementations=["unrolled"], executor=executor)
        short = replace(whole, cases=two, compared=("bare-loop",))
        monkeypatch.setattr(overhead, "EXPERIMENT", short)
        highest, watching = 0, threading.Event()

        def watch() -> None:
            nonlocal highest
            while not watching.wait(0.5):
                highest = max(highest, len(measuring_children(timing_worker)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        run.run()
        watching.set()
        watcher.join()
    assert run.statuses == {"ok": 2}
    assert highest == 1
    groups = [json.loads(path.read_text())["round_group"] for path in run.store.cells.glob("overhead/*/*.json")]
    assert len(set(groups)) == 2


def test_a_claim_waits_for_others_of_the_same_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Waited(Exception):
        pass

    def waiting() -> None:
        raise Waited

    def refused(alone: bool) -> None:
        with pytest.raises(Waited), claimed(alone, "cpu", waiting):
            pass

    with claimed(False, "cpu", waiting), claimed(False, "cpu", waiting):
        refused(alone=True)
    with claimed(True, "cpu", waiting):
        refused(alone=True)
        refused(alone=False)
    with claimed(True, "cpu", waiting):
        pass


@dataclass(eq=False)
class Made:
    """A future that needs no scheduler."""

    made: Delivery

    def release(self) -> None:
        """Nobody holds it."""


class Killing(Cluster):
    """Workers that vanish under one case, together with the cases that were with them."""

    cores = 1

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[Machine]:
        known = dict.fromkeys(files, Implementation(computes="maml"))
        return [Machine("cpu", False, known, Environment(python="any", torch="any", device_model="any"))]

    def _submit(self, plan: Plan, wanted: Any, case: Case, missing: list[str]) -> Any:
        end = {"judge": [End(Status.WRONG, "made up")]}
        return Made(Delivery(plan.machine.environment, [plan._cell(case, s, end, None) for s in missing]))

    def _finished(self, futures: list[Any], timed: bool) -> Iterator[Any]:
        self.attempts.append(len(futures))
        yield from futures

    def _result(self, future: Any, case: Case) -> Delivery:
        if case.name == "tanh-steps1" or self.attempts == [3]:
            raise KilledWorker(case.folder, None, 3)
        return future.made  # type: ignore[no-any-return]


def test_a_case_whose_workers_vanish_is_tried_alone_and_is_a_row(judged: Callable[..., Plan]) -> None:
    executor = Killing()
    run = judged(executor=executor)
    run.run()
    assert executor.attempts == [3, 1, 1, 1]
    assert run.statuses == {"wrong": 2, "failed": 1}
    failed = {at: cell["reason"] for at, cell in cells(run).items() if cell["status"] == "failed"}
    assert failed == {("tanh-steps1 float64", "unrolled"): dask_client.VANISHED}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (NOWHERE, "no Dask scheduler can be reached there"),
        ("nonsense://127.0.0.1:1", "unknown address scheme"),
        ("", "no Dask scheduler can be reached there"),
    ],
)
def test_a_bad_address_is_one_clear_line_and_exit_2(
    call: Call, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setattr(dask_client, "CONNECT_S", 0.3)
    code, out, err = call("run", "create_graph", "--scheduler", address)
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"--scheduler {address}:" in err and said in err and "Traceback" not in out + err


def test_what_a_scheduler_is_not_for_is_one_clear_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = call("run", "create_graph", "--scheduler", NOWHERE, "--implementations", "all,mine.py")
    assert code == 2 and "workers have neither files of your own nor a --model" in err
    for name in ("distributed", "experiments.harness.distributed.dask_client"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = call("run", "create_graph", "--scheduler", NOWHERE)
    assert code == 2 and "--scheduler needs dask.distributed, which `make setup` installs" in err


def test_other_sources_are_refused(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_worker, "project", lambda: "other")
    with (
        pytest.raises(BadRequest, match=r"(\d+) of \1 workers have other sources of the project"),
        connected(box.address),
    ):
        pass
