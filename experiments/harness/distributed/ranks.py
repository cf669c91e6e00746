"""One run on many ranks: torchrun starts the same command on each; rank 0 plans, shows and stores, the others serve it.

Rank 0 holds a connection to every other rank, and has the child there measure the same cell as its own, turn by turn;
the children form a process group (`sharded`). A connection that breaks tells at once that a rank is dead, whatever its
child was doing.
"""

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any, Protocol

from torch.distributed import Store, rendezvous  # type: ignore[attr-defined]

from experiments.harness import experiment
from experiments.harness.case import Case, Json
from experiments.harness.executor import Here, Plan, Todo
from experiments.harness.experiment import Experiment
from experiments.harness.measure.processors import cores, pin
from experiments.harness.processes.isolate import FOREVER_S, Child, Lost, measuring
from experiments.harness.processes.limits import guard
from experiments.harness.processes.schedule import Advance, Job
from experiments.harness.refusals import BadRequest, Gone

GRACE_S = 2.0
"""How long others may take to tell why, after a rank has ended badly: the first to notice is not the one to blame."""
ADDRESS = "maml-bench"  # the key under which rank 0 tells where it listens
ALL_CORES = cores()
RANK_WORKER = "experiments.harness.distributed.rank_worker"


class Member(Protocol):
    """A child at work, on this rank or another."""

    @property
    def connection(self) -> "Connection[Any, Any]":
        """What its answers come through."""

    def send(self, message: dict[str, Json], /) -> None:
        """Give it work."""

    def receive(self) -> dict[str, Json]:
        """Its answer; raises Lost where it has died."""


class Remote:
    """Another rank, and the child that it has for the cell at work."""

    def __init__(self, rank: int, connection: "Connection[Any, Any]") -> None:
        self.rank, self.connection = rank, connection

    def send(self, message: dict[str, Json]) -> None:
        """To the rank itself, or through it to its child."""
        with suppress(OSError):  # it has died; `receive` tells
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> dict[str, Json]:
        """Its child's answer; raises Gone where the rank itself has died."""
        try:
            answer: dict[str, Json] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise gone(f"rank {self.rank} has died") from None
        return answer

    def stop(self) -> None:
        """End its child; whatever that has still said is passed over."""
        self.send({"op": "stop"})
        while self.receive()["event"] != "stopped":
            pass


class Ranks(Here):
    """All ranks, as rank 0 sees them; what they share are meta-batches."""

    def __init__(self, others: list[Remote]) -> None:
        self.others = others
        self.count = len(others) + 1
        self.groups = 0

    def check(self, experiments: Iterable[str]) -> None:
        """Refuse what does not shard its meta-batches."""
        for name in experiments:
            if experiment.load(name).ranks == "one":
                sharding = [other for other in experiment.names() if experiment.load(other).ranks != "one"]
                raise BadRequest(
                    f"{name} cannot be run by torchrun over several ranks; allowed are {', '.join(sharding)}"
                )

    def adapt(self, case: Case) -> Case:
        """A case over several ranks is another one, and says so: sums in another order have other last bits."""
        return replace(case, name=f"{case.name}-ranks{self.count}", params=case.params | {"ranks": self.count})

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure every cell by a child of each rank."""
        plan.measure(wanted, todo, advance, self.together)

    def together(self, jobs: list[Job], threads: int, advance: Advance) -> Iterator[Job]:
        """Measure one job after the other, each on all ranks; yields each when it has ended. Raises Gone."""
        for job in jobs:
            self._repeatedly(job, threads, advance)
            yield job

    def _repeatedly(self, job: Job, threads: int, advance: Advance) -> None:
        """By as many processes of each rank, one after the other, as the case's parameters say; by default one."""
        processes: int = job.case.params.get("processes", 1)
        while len(job.answers) < processes and all(answer["status"] == "ok" for answer in job.answers):
            job.answers.append(self._measure(job, threads, lambda done: advance(done / processes)))

    def _measure(self, job: Job, threads: int, advance: Advance) -> dict[str, Json]:
        """How a cell ended: on rank 0, or on the rank to blame."""
        self.groups += 1
        opening = job.opening() | {"group": f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{self.groups}"}
        for other in self.others:
            other.send({"op": "start", "threads": threads})
        own = started(threads)
        members: dict[int, Member] = {0: own} | {other.rank: other for other in self.others}
        try:
            end = turns(members, opening, job.timeout, advance)
        finally:
            own.close(gently=False)
        for other in self.others:
            other.stop()
        return end


def turns(members: Mapping[int, Member], opening: dict[str, Json], timeout: float, advance: Advance) -> dict[str, Json]:
    """Have all work on a cell, each turn at once, until it ends."""
    deadline, done, message = time.monotonic() + timeout, 0.0, opening
    while True:
        for member in members.values():
            member.send(message)
        found = answers(members, deadline)
        if any(answer["event"] == "end" for answer in found.values()):
            advance(1.0 - done)
            return verdict(found)
        now = found[0].get("done", done)
        advance(now - done)
        done, message = now, {"op": "turn"}


def answers(members: Mapping[int, Member], deadline: float) -> dict[int, dict[str, Json]]:
    """What each says by the deadline, or, where one has ended badly, within a moment of it."""
    found: dict[int, dict[str, Json]] = {}
    while len(found) < len(members):
        waiting = {member.connection: rank for rank, member in members.items() if rank not in found}
        ready = wait(list(waiting), min(max(deadline - time.monotonic(), 0.0), FOREVER_S))
        if not ready and not any(map(badly, found.values())):
            late = {"event": "end", "status": "timeout", "reason": "it did not finish within the time limit"}
            return found | dict.fromkeys(waiting.values(), late)
        if not ready:
            break
        for connection in ready:
            rank = waiting[connection]  # type: ignore[index]  # of what it was given
            try:
                found[rank] = members[rank].receive()
            except Lost as lost:
                found[rank] = lost.end()
            if badly(found[rank]):
                deadline = min(deadline, time.monotonic() + GRACE_S)
    return found


def badly(answer: dict[str, Json]) -> bool:
    """Whether a rank has ended a cell so that it has ended for all."""
    return bool(answer["event"] == "end" and answer["status"] != "ok")


def verdict(found: Mapping[int, dict[str, Json]]) -> dict[str, Json]:
    """One end of a cell from those of its ranks.

    Raises Gone where a rank's child was killed from outside, or each only says that it has lost the others.
    """
    bad = {rank: answer for rank, answer in sorted(found.items()) if badly(answer)}
    if not bad:
        return found[0]
    told = {rank: answer for rank, answer in bad.items() if answer["status"] != "lost"}
    if not told:
        raise gone(f"the ranks have lost each other ({next(iter(bad.values()))['reason']})")
    rank, answer = next(iter(told.items()))
    if answer.get("killed"):
        raise gone(f"rank {rank} has died ({answer['reason']})")
    return answer if rank == 0 else answer | {"reason": f"rank {rank}: {answer['reason']}"}


def gone(reason: str) -> Gone:
    """To be raised; torchrun is about to end all of us, and there is something to say first."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return Gone(reason)


def started(threads: int) -> Child:
    """A measuring process, on cores of its own where this machine has enough for all its ranks.

    This process, which only waits, is bound to them and hands that down, before any library counts processors.
    """
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if here * threads <= len(ALL_CORES):
        pin(ALL_CORES[local * threads :][:threads])
    return measuring(threads, RANK_WORKER)


@contextmanager
def gathered() -> Iterator[Ranks]:
    """On rank 0, all ranks; they are dismissed at the end. On any other this serves, and then ends the process."""
    local, visible = int(os.environ["LOCAL_RANK"]), os.environ.get("CUDA_VISIBLE_DEVICES")
    # each rank's children see its own device alone, whatever library they load
    os.environ["CUDA_VISIBLE_DEVICES"] = str(local) if visible is None else ",".join(visible.split(",")[local:][:1])
    store, rank, count = next(iter(rendezvous("env://")))
    if rank:
        sys.exit(serve(store, rank))

    def ended(*_: object) -> None:
        raise gone("torchrun has ended the run, because a rank has died or it was told to")

    signal.signal(signal.SIGTERM, ended)
    others = accepted(store, count - 1)
    try:
        yield Ranks(others)
    finally:
        for other in others:
            other.send({"op": "done"})


def accepted(store: Store, count: int) -> list[Remote]:
    """The other ranks, when all have connected."""
    one_machine = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    host, key = os.environ["MASTER_ADDR"], secrets.token_bytes(16)
    others: list[Remote] = []
    with Listener((host if one_machine else "", 0), "AF_INET", backlog=count, authkey=key) as listener:
        port: int = listener.address[1]  # type: ignore[assignment]
        store.set(ADDRESS, f"{host} {port} {key.hex()}")
        while len(others) < count:
            with suppress(AuthenticationError):  # someone else
                connection = listener.accept()
                others.append(Remote(json.loads(connection.recv_bytes()), connection))
    return sorted(others, key=lambda other: other.rank)


def serve(store: Store, rank: int) -> int:
    """Do as rank 0 says until it says that all is done; the exit code."""
    host, port, key = store.get(ADDRESS).decode().split()
    leader = Client((host, int(port)), "AF_INET", authkey=bytes.fromhex(key))
    leader.send_bytes(json.dumps(rank).encode())
    with guard(None):
        return obey(leader, rank)


def obey(leader: "Connection[Any, Any]", rank: int) -> int:
    """What rank 0 says, with one child after the other."""
    child: Child | None = None
    try:
        while True:
            if leader not in wait([leader, child.connection] if child else [leader]):
                assert child is not None
                try:
                    answer = child.receive()
                except Lost as lost:
                    answer, child = lost.end(), None
                leader.send_bytes(json.dumps(answer).encode())
                continue
            message = json.loads(leader.recv_bytes())
            if message["op"] == "done":
                return 0
            if message["op"] == "start":
                child = started(message["threads"])
            elif message["op"] == "stop":
                if child:
                    child.close(gently=False)
                child = None
                leader.send_bytes(b'{"event": "stopped"}')
            elif child:
                child.send(message)
    except (EOFError, OSError):
        if rank == 1:  # one line is enough
            print(f"maml-bench: {gone('rank 0 has died')}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:  # rank 0 has it, too, and tells
        return 130
    finally:
        if child:
            child.close(gently=False)
