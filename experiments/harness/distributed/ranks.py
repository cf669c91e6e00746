"""One run on many ranks: torchrun starts the same command on each; rank 0 plans, shows and stores, the others serve it.

Rank 0 holds a connection to every other rank, and has the worker there measure the same cell as its own, turn by turn;
the workers form a process group (`sharded`). A connection that breaks tells at once that a rank is dead, whatever its
worker was doing.
"""

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
from experiments.harness.executor import Here, Plan, Todo
from experiments.harness.experiment import Experiment
from experiments.harness.measure.processors import cores, pin
from experiments.harness.processes.isolate import FOREVER_S, Lost, MeasuringWorker, measuring
from experiments.harness.processes.limits import guard
from experiments.harness.processes.schedule import Advance, Job
from experiments.harness.records import Case, Status
from experiments.harness.records.messages import (
    Answer,
    Done,
    End,
    Ended,
    Join,
    Open,
    Progress,
    Request,
    Start,
    Stop,
    Turn,
)
from experiments.harness.records.serial import decode, encode
from experiments.harness.refusals import BadRequest, Gone

GRACE_S = 2.0
"""How long others may take to tell why, after a rank has ended badly: the first to notice is not the one to blame."""
ADDRESS = "maml-bench"  # the key under which rank 0 tells where it listens
ALL_CORES = cores()
RANK_WORKER = "experiments.harness.distributed.rank_worker"


class Member(Protocol):
    """A worker at work, on this rank or another."""

    @property
    def connection(self) -> "Connection[Any, Any]":
        """Return what its answers come through."""

    def send(self, message: Request, /) -> None:
        """Give it work."""

    def receive(self) -> Answer:
        """Wait for its answer; raises Lost where it has died."""


class Remote:
    """Another rank, and the worker that it has for the cell at work."""

    def __init__(self, rank: int, connection: "Connection[Any, Any]") -> None:
        self.rank, self.connection = rank, connection

    def send(self, message: Request) -> None:
        """Send a message to the rank, or through it to its worker."""
        with suppress(OSError):  # it has died; `receive` tells
            self.connection.send_bytes(encode(message))

    def receive(self) -> Answer:
        """Wait for its worker's answer; raises Gone where the rank itself has died."""
        try:
            return received(self.connection)
        except (EOFError, OSError):
            raise gone(f"rank {self.rank} has died") from None

    def stop(self) -> None:
        """End its worker; whatever that has still said is passed over."""
        self.send(Stop())
        while not isinstance(self.receive(), Ended):
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
        """Rename a case, since over several ranks it is another one: sums in another order have other last bits."""
        return replace(case, name=f"{case.name}-ranks{self.count}", params=case.params.extended(ranks=self.count))

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure every cell by a worker of each rank."""
        plan.measure(wanted, todo, advance, self.together)

    def together(self, jobs: list[Job], threads: int, advance: Advance) -> Iterator[Job]:
        """Measure one job after the other, each on all ranks; yields each when it has ended. Raises Gone."""
        for job in jobs:
            self._repeatedly(job, threads, advance)
            yield job

    def _repeatedly(self, job: Job, threads: int, advance: Advance) -> None:
        """Measure by as many workers of each rank, one after the other, as the case says; by default one."""
        processes = job.case.params.integer("processes", 1)
        while len(job.answers) < processes and all(end.ok for end in job.answers):
            job.answers.append(self._measure(job, threads, lambda done: advance(done / processes)))

    def _measure(self, job: Job, threads: int, advance: Advance) -> End:
        """Measure once; return how the cell ended on rank 0, or on the rank to blame."""
        self.groups += 1
        opening = job.opening(group=f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{self.groups}")
        for other in self.others:
            other.send(Start(threads))
        own = started(threads)
        members: dict[int, Member] = {0: own} | {other.rank: other for other in self.others}
        try:
            end = turns(members, opening, job.timeout, advance)
        finally:
            own.close(gently=False)
        for other in self.others:
            other.stop()
        return end


def turns(members: Mapping[int, Member], opening: Open, timeout: float, advance: Advance) -> End:
    """Have all work on a cell, each turn at once, until it ends."""
    deadline, done = time.monotonic() + timeout, 0.0
    message: Request = opening
    while True:
        for member in members.values():
            member.send(message)
        found = answers(members, deadline)
        if ends := {rank: answer for rank, answer in found.items() if isinstance(answer, End)}:
            advance(1.0 - done)
            return verdict(ends)
        if isinstance(found[0], Progress):
            advance(found[0].done - done)
            done = found[0].done
        message = Turn()


def answers(members: Mapping[int, Member], deadline: float) -> dict[int, Answer]:
    """Collect the answer of each member by the deadline, or within a moment after one has ended badly."""
    found: dict[int, Answer] = {}
    while len(found) < len(members):
        waiting = {member.connection: rank for rank, member in members.items() if rank not in found}
        ready = wait(list(waiting), min(max(deadline - time.monotonic(), 0.0), FOREVER_S))
        if not ready and not any(map(badly, found.values())):
            late = End(Status.TIMEOUT, "it did not finish within the time limit")
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


def badly(answer: Answer) -> bool:
    """Whether a rank has ended a cell so that it has ended for all."""
    return isinstance(answer, End) and not answer.ok


def verdict(ends: Mapping[int, End]) -> End:
    """Choose the end of a cell from those of its ranks.

    Raises Gone where a rank's worker was killed from outside, or each only says that it has lost the others.
    """
    bad = {rank: end for rank, end in sorted(ends.items()) if not end.ok}
    if not bad:
        return ends[0]
    told = {rank: end for rank, end in bad.items() if end.status != Status.LOST}
    if not told:
        raise gone(f"the ranks have lost each other ({next(iter(bad.values())).reason})")
    rank, end = next(iter(told.items()))
    if end.killed:
        raise gone(f"rank {rank} has died ({end.reason})")
    return end if rank == 0 else replace(end, reason=f"rank {rank}: {end.reason}")


def received(connection: "Connection[Any, Any]") -> Answer:
    """Receive what another rank says; raises EOFError or OSError where it has died."""
    answer = decode(connection.recv_bytes())
    assert isinstance(answer, Answer)
    return answer


def gone(reason: str) -> Gone:
    """Return the exception that ends the run, and hold off torchrun, which ends all ranks, until it is printed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return Gone(reason)


def started(threads: int) -> MeasuringWorker:
    """Start a worker on cores of its own, where this machine has enough for all its ranks.

    This process, which only waits, is bound to them and hands that down, before any library counts processors.
    """
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if here * threads <= len(ALL_CORES):
        pin(ALL_CORES[local * threads :][:threads])
    return measuring(threads, RANK_WORKER)


@contextmanager
def gathered() -> Iterator[Ranks]:
    """Yield all ranks on rank 0 and dismiss them at the end; on any other rank serve it, and then end the process."""
    local, visible = int(os.environ["LOCAL_RANK"]), os.environ.get("CUDA_VISIBLE_DEVICES")
    # each rank's workers see its own device alone, whatever library they load
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
            other.send(Done())


def accepted(store: Store, count: int) -> list[Remote]:
    """Wait until all other ranks have connected, and return them."""
    one_machine = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    host, key = os.environ["MASTER_ADDR"], secrets.token_bytes(16)
    others: list[Remote] = []
    with Listener((host if one_machine else "", 0), "AF_INET", backlog=count, authkey=key) as listener:
        port: int = listener.address[1]  # type: ignore[assignment]
        store.set(ADDRESS, f"{host} {port} {key.hex()}")
        while len(others) < count:
            with suppress(AuthenticationError):  # someone else
                connection = listener.accept()
                joined = received(connection)
                assert isinstance(joined, Join)
                others.append(Remote(joined.rank, connection))
    return sorted(others, key=lambda other: other.rank)


def serve(store: Store, rank: int) -> int:
    """Do as rank 0 says until it says that all is done; the exit code."""
    host, port, key = store.get(ADDRESS).decode().split()
    leader = Client((host, int(port)), "AF_INET", authkey=bytes.fromhex(key))
    leader.send_bytes(encode(Join(rank)))
    with guard(None):
        return obey(leader, rank)


def obey(leader: "Connection[Any, Any]", rank: int) -> int:
    """Do what rank 0 says, with one worker after the other."""
    worker: MeasuringWorker | None = None
    try:
        while True:
            if leader not in wait([leader, worker.connection] if worker else [leader]):
                assert worker is not None
                try:
                    answer = worker.receive()
                except Lost as lost:
                    answer, worker = lost.end(), None
                leader.send_bytes(encode(answer))
                continue
            match decode(leader.recv_bytes()):
                case Done():
                    return 0
                case Start(threads=threads):
                    worker = started(threads)
                case Stop():
                    if worker:
                        worker.close(gently=False)
                    worker = None
                    leader.send_bytes(encode(Ended()))
                case Open() | Turn() as message if worker:
                    worker.send(message)
    except (EOFError, OSError):
        if rank == 1:  # one line is enough
            print(f"maml-bench: {gone('rank 0 has died')}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:  # rank 0 has it, too, and tells
        return 130
    finally:
        if worker:
            worker.close(gently=False)
