"""Meta-batches over several ranks: equal to one process, ended by a death, gone on with from a checkpoint."""

import json
import os
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

from experiments.harness.distributed.ranks import Member, Ranks, answers, turns
from experiments.harness.processes.isolate import Lost
from experiments.harness.records import Case, Parameters, Status
from experiments.harness.records.messages import Answer, End, Open, Opened, Progress, Request, Turn
from experiments.harness.refusals import BadRequest, Gone
from experiments.harness.request import request
from tests.conftest import Call
from tests.harness import rank

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what 3 ranks found, and then the first 2 of them."""
    folder = tmp_path_factory.mktemp("ranks")
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    variables = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.harness.rank", str(folder)]
    each = [os.environ | variables | {"RANK": str(number)} for number in range(3)]
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for environment in each]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    return folder


def test_every_rank_finds_what_one_process_finds(on_ranks: Path) -> None:
    """To 1e-12, with tasks that cannot be divided evenly, and with a rank that has none; in one all-reduce."""
    alone = rank.everything()
    curve = alone.pop("curve")
    assert len(curve) == 20 and alone["unrolled 10"]["losses"].shape == (10,)
    assert alone["reptile 10"]["losses"] is None
    for ranks, number in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
        sharded = torch.load(on_ranks / f"{ranks}-{number}.pt", weights_only=True)
        torch.testing.assert_close(sharded.pop("curve"), curve, rtol=1e-12, atol=0)
        assert sharded.keys() == alone.keys()
        for name, found in sharded.items():
            (size,) = found["sizes"]
            assert size == sum(g.numel() for g in found["grads"].values()) + int(name.split()[1]) + 2
            for what in ("losses", "grads"):
                torch.testing.assert_close(found[what], alone[name][what], rtol=1e-12, atol=1e-15, msg=name)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "experiments", "run"]
    command += ["training", "--implementations", "unrolled", "--seeds", "0", "--cases", "notebook-100"]
    command += ["--device", "cpu", "--results", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("checkpoints/training/*float64*/*.pt")):  # of the second cell
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        parents = {p.environ()["RANK"]: p for p in psutil.Process(run.pid).children()}
        everyone = psutil.Process(run.pid).children(recursive=True)
        parents["1"].kill()
        said, _ = run.communicate(timeout=30)
    assert run.returncode != 0
    assert "rank 1 has died; what is finished is kept, and the same command goes on from there" in said
    psutil.wait_procs(everyone, timeout=2)
    assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    (path,) = tmp_path.glob("cells/training/*/*.json")
    cell = json.loads(path.read_text())
    assert cell["status"] == "ok" and cell["case"]["name"] == "notebook-100-ranks2"
    assert cell["rows"][0]["ranks"] == 2 and cell["rows"][0]["error_float32"] < 1e-5
    assert len(cell["series"]["train"]["query_loss"]) == 100
    (checkpoint,) = tmp_path.glob("checkpoints/training/*/*.pt")
    assert "float64" in str(checkpoint)


# -- how a cell ends, when it ends differently on its ranks


class Scripted:
    """A member that answers from a list; what is an exception is raised."""

    def __init__(self, *said: Answer | Exception) -> None:
        self.said, (self.connection, self.theirs) = list(said), Pipe()

    def send(self, message: Request) -> None:
        if self.said:
            self.theirs.send(None)

    def receive(self) -> Answer:
        self.connection.recv()
        answer = self.said.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def end(status: str, reason: str = "") -> End:
    return End(Status(status), reason)


OPEN = Opened()
HALF = Progress(0.5)
OPENING = Open(Case("e", "case", Parameters(), "cpu", "float64", 0, 1), "mine", None, None, "", 0, None, None, None)
LOST = end("lost", "connection reset by peer")
KILLED = Lost(Status.FAILED, "the process was killed by SIGKILL", killed=True)


@pytest.mark.parametrize(
    ("members", "status", "reason"),
    [
        ([(OPEN, HALF, end("ok")), (OPEN, HALF, end("ok"))], "ok", ""),
        ([(OPEN, end("wrong", "error")), (OPEN, end("wrong", "error"))], "wrong", "error"),
        ([(OPEN, LOST), (OPEN, end("oom", "no memory"))], "oom", "rank 1: no memory"),
        ([(OPEN, LOST), (OPEN, LOST), (Lost(Status.FAILED, "exit code 7"),)], "failed", "rank 2: exit code 7"),
        ([(OPEN,), (OPEN, end("unavailable", "no library"))], "unavailable", "rank 1: no library"),
        ([(OPEN, HALF), (OPEN, HALF)], "timeout", "it did not finish within the time limit"),
    ],
)
def test_a_cell_ends_for_all_as_on_the_rank_to_blame(
    members: list[tuple[Any, ...]], status: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.harness.distributed.ranks.GRACE_S", 0.2)
    done: list[float] = []
    everyone: dict[int, Member] = {number: Scripted(*said) for number, said in enumerate(members)}
    found = turns(everyone, OPENING, 1.0, done.append)
    assert (found.status, found.reason) == (status, reason)
    assert sum(done) == 1.0


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([(OPEN, LOST), (OPEN, KILLED)], r"rank 1 has died \(the process was killed by SIGKILL\); what is finished"),
        ([(OPEN, LOST), (OPEN, LOST)], r"lost each other \(connection reset by peer\); what is finished is kept"),
    ],
)
def test_where_nobody_is_to_blame_the_run_ends(members: list[tuple[Any, ...]], said: str) -> None:
    everyone: dict[int, Member] = {number: Scripted(*script) for number, script in enumerate(members)}
    with pytest.raises(Gone, match=said):
        turns(everyone, OPENING, 5.0, lambda _: None)


def test_all_are_heard_whoever_is_late() -> None:
    everyone: dict[int, Member] = {0: Scripted(HALF), 1: Scripted(HALF)}
    for member in everyone.values():
        member.send(Turn())
    assert answers(everyone, time.monotonic() + 5) == {0: HALF, 1: HALF}


# -- what can be asked for


def test_what_cannot_be_sharded_is_refused_and_what_can_is_another_case(tmp_path: Path, call: Call) -> None:
    two = Ranks([None])  # type: ignore[list-item]
    with pytest.raises(BadRequest, match="cost cannot be run by torchrun over several ranks; allowed are sharding, tr"):
        request(["training", "cost"], results=tmp_path, executor=two)
    code, _, err = call("run", "sharding")
    assert code == 2 and "sharding takes two ranks or more: torchrun --nproc-per-node 2 -m experiments run" in err
    plan = request(["training"], ["unrolled"], results=tmp_path, device="cpu", cases=["notebook-100"], executor=two)
    assert {(case.name, case.params["ranks"]) for case in plan.cases("training")} == {("notebook-100-ranks2", 2)}
    (case,) = [c for c in plan.cases("training") if c.dtype == "float64"]
    path = plan._checkpoint(case, "unrolled")
    path.parent.mkdir(parents=True)
    for damage in (b"junk", b"", b"cos\nsystem\n(S'touch executed'\ntR."):
        path.write_bytes(damage)
        assert plan._checkpoint(case, "unrolled") == path
        (line,) = plan.store.warnings
        assert "a damaged checkpoint was set aside as checkpoints/" in line and "training starts anew" in line
        assert not path.exists() and path.with_suffix(".damaged").read_bytes() == damage
        plan.store.warnings.clear()
    assert not Path("executed").exists()
    plan.sources.known["baselines/contract.py"] = "changed"
    del plan.sources.all
    assert plan._checkpoint(case, "unrolled") != path


# -- going on; over two ranks, `on_ranks` has seen it


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    assert rank.resumed(tmp_path / "folder" / "training.pt", dtype)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["training.pt"]
