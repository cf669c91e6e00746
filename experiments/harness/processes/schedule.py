"""Who works when: cells side by side where only results count, turn by turn where time does."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.harness.experiment import Measurement
from experiments.harness.measure.processors import cores
from experiments.harness.processes.isolate import Lost, MeasuringWorker, answered, end, measuring
from experiments.harness.records import Case, Status
from experiments.harness.records.messages import Answer, End, Open, Pin, Progress, Request, Turn

Advance = Callable[[float], None]
"""Called with the fraction of one cell's pass that was just done."""


HARMLESS = (Status.OK, Status.WRONG, Status.UNAVAILABLE, Status.EXPECTED)
"""How a cell may end for its worker to go on: after anything else memory or the device may be in any state."""
ON_ONE_GPU = 4  # each worker's context takes several hundred MiB


@dataclass(eq=False)
class Job:
    """One cell to be measured by one measurement; `answers` has one entry per process that measured it.

    timeout: seconds of work that one process may take for it.
    cache: where the processes that measure the cell keep what they compile; None: where compilers keep it by default.
    oracle_results: where all processes that measure the case keep what an oracle said.
    checkpoint: where a training run keeps how far it is.
    """

    case: Case
    implementation: str
    file: Path | None
    model_file: Path | None
    measurement: Measurement
    timeout: float
    cache: Path | None = None
    oracle_results: Path | None = None
    checkpoint: Path | None = None
    answers: list[End] = field(default_factory=list)

    def opening(self, group: str = "") -> Open:
        """Return the message that hands it to a worker, or to those of all ranks, which form a process group."""
        return Open(
            case=self.case,
            implementation=self.implementation,
            file=_text(self.file),
            model_file=_text(self.model_file),
            measurement=self.measurement.name,
            repeat=len(self.answers),
            cache=_text(self.cache),
            oracle_results=_text(self.oracle_results),
            checkpoint=_text(self.checkpoint),
            group=group,
        )


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


class Player:
    """A worker at work on a job."""

    def __init__(self, job: Job, worker: MeasuringWorker) -> None:
        self.job, self.worker = job, worker
        self.done = 0.0
        self.left_s = job.timeout
        self.asked = 0.0

    def ask(self, message: Request) -> None:
        """Send it on; the time it takes to answer counts against the job's limit."""
        self.asked = time.monotonic()
        self.worker.send(message, self.left_s)

    def answer(self, advance: Advance) -> Answer:
        """Receive what it says; losing the worker is an end like any other."""
        try:
            answer = self.worker.receive()
        except Lost as lost:
            answer = lost.end()
        self.left_s -= time.monotonic() - self.asked
        match answer:
            case Progress():
                self._advance(answer.done, advance)
            case End():
                self._advance(1.0, advance)
                self.job.answers.append(answer)
        return answer

    def _advance(self, done: float, advance: Advance) -> None:
        advance(done - self.done)
        self.done = done


def side_by_side(jobs: list[Job], threads: int, advance: Advance, sharing: int = 1) -> Iterator[Job]:
    """Measure jobs on all cores, or on one of `sharing` parts of them, `threads` to each worker.

    Yields each job when it has ended.

    A worker serves one implementation and goes on to its next case, since starting one takes longer than most cases.
    """
    queue = sorted(jobs, key=lambda job: job.implementation)
    working: dict[MeasuringWorker, Player] = {}

    def start(job: Job, worker: MeasuringWorker) -> None:
        queue.remove(job)
        working[worker] = Player(job, worker)
        working[worker].ask(job.opening())

    try:
        workers = max(1, len(cores()) // threads // sharing)
        if jobs and jobs[0].case.device == "cuda":
            workers = min(workers, ON_ONE_GPU)
        for _ in range(min(len(queue), workers)):
            taken = {
                player.job.implementation for player in working.values()
            }  # spread the implementations over the workers
            start(next((j for j in queue if j.implementation not in taken), queue[0]), measuring(threads))
        while working:
            for worker in answered(working):
                player = working[worker]
                answer = player.answer(advance)
                if not isinstance(answer, End):
                    player.ask(Turn())
                    continue
                del working[worker]
                following = next((j for j in queue if j.implementation == player.job.implementation), None)
                if following and answer.status in HARMLESS:
                    start(following, worker)
                else:
                    worker.close()
                    if queue:
                        start(following or queue[0], measuring(threads))
                yield player.job
    finally:
        end(list(working))


def in_turns(jobs: list[Job], processes: int, threads: int, advance: Advance, seed: int) -> None:
    """Measure the jobs of one case turn by turn, one at work at a time, all on the same cores, in random order.

    Repeated with `processes` fresh workers per job; a job that does not end well takes part no further. A worker's
    first turn is its preparation, for which all work at once.
    """
    order = random.Random(seed)
    shared = cores()[-threads:]  # the last ones: the parent and the system's own work prefer the first
    for _ in range(processes):
        ready = [job for job in jobs if all(end.ok for end in job.answers)]
        players = [Player(job, measuring(threads)) for job in ready]
        try:
            for message in (None, Turn(), Pin(tuple(shared))):
                waiting = {player.worker: player for player in players}
                for player in players:
                    player.ask(message or player.job.opening())
                while waiting:
                    for worker in answered(waiting):
                        player = waiting.pop(worker)
                        if isinstance(player.answer(lambda _: None), End):
                            players.remove(player)
                            worker.close()
            while players:
                for player in order.sample(players, len(players)):
                    player.ask(Turn())
                    if isinstance(player.answer(lambda done: advance(done / processes)), End):
                        players.remove(player)
                        player.worker.close()
        finally:
            end([player.worker for player in players])
