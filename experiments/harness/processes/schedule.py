"""Who works when: cells side by side where only results count, turn by turn where time does."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.harness.case import Case, Json
from experiments.harness.experiment import Pass
from experiments.harness.measure.processors import cores
from experiments.harness.processes.isolate import Child, Lost, answered, end, measuring

Advance = Callable[[float], None]
"""Called with the fraction of one cell's pass that was just done."""


HARMLESS = ("ok", "wrong", "unavailable", "expected")
"""How a cell may end for its child to go on: after anything else memory or the device may be in any state."""
ON_ONE_GPU = 4  # each child's context takes several hundred MiB


@dataclass(eq=False)
class Job:
    """One cell to be measured by one pass; `answers` has one entry per process that measured it.

    timeout: seconds of work that one process may take for it.
    cache: where the processes that measure the cell keep what they compile; None: where compilers keep it by default.
    oracle_results: where all processes that measure the case keep what an oracle said.
    checkpoint: where a training run keeps how far it is.
    """

    case: Case
    subject: str
    file: Path | None
    model_file: Path | None
    step: Pass
    timeout: float
    cache: Path | None = None
    oracle_results: Path | None = None
    checkpoint: Path | None = None
    answers: list[dict[str, Json]] = field(default_factory=list)

    def opening(self) -> dict[str, Json]:
        """The message that hands it to a child."""
        return {
            "op": "open",
            "case": self.case.json(),
            "subject": self.subject,
            "file": str(self.file) if self.file else None,
            "model_file": str(self.model_file) if self.model_file else None,
            "pass": self.step.name,
            "repeat": len(self.answers),
            "cache": str(self.cache) if self.cache else None,
            "oracle_results": str(self.oracle_results) if self.oracle_results else None,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
        }


class Player:
    """A child at work on a job."""

    def __init__(self, job: Job, child: Child) -> None:
        self.job, self.child = job, child
        self.done = 0.0
        self.left_s = job.timeout
        self.asked = 0.0

    def ask(self, message: dict[str, Json]) -> None:
        """Send it on; the time it takes to answer counts against the job's limit."""
        self.asked = time.monotonic()
        self.child.send(message, self.left_s)

    def answer(self, advance: Advance) -> dict[str, Json]:
        """What it says; losing the child is an end like any other."""
        try:
            answer = self.child.receive()
        except Lost as lost:
            answer = lost.end()
        self.left_s -= time.monotonic() - self.asked
        done = 1.0 if answer["event"] == "end" else answer.get("done", self.done)
        advance(done - self.done)
        self.done = done
        if answer["event"] == "end":
            self.job.answers.append(answer)
        return answer


def side_by_side(jobs: list[Job], threads: int, advance: Advance, sharing: int = 1) -> Iterator[Job]:
    """Measure jobs on all cores, or on one of `sharing` parts of them, `threads` to each child.

    Yields each job when it has ended.

    A child serves one implementation and goes on to its next case, since starting one takes longer than most cases.
    """
    queue = sorted(jobs, key=lambda job: job.subject)
    working: dict[Child, Player] = {}

    def start(job: Job, child: Child) -> None:
        queue.remove(job)
        working[child] = Player(job, child)
        working[child].ask(job.opening())

    try:
        children = max(1, len(cores()) // threads // sharing)
        if jobs and jobs[0].case.device == "cuda":
            children = min(children, ON_ONE_GPU)
        for _ in range(min(len(queue), children)):
            taken = {player.job.subject for player in working.values()}  # spread the implementations over the children
            start(next((j for j in queue if j.subject not in taken), queue[0]), measuring(threads))
        while working:
            for child in answered(working):
                player = working[child]
                answer = player.answer(advance)
                if answer["event"] != "end":
                    player.ask({"op": "turn"})
                    continue
                del working[child]
                following = next((j for j in queue if j.subject == player.job.subject), None)
                if following and answer["status"] in HARMLESS:
                    start(following, child)
                else:
                    child.close()
                    if queue:
                        start(following or queue[0], measuring(threads))
                yield player.job
    finally:
        end(list(working))


def in_turns(jobs: list[Job], processes: int, threads: int, advance: Advance, seed: int) -> None:
    """Measure the jobs of one case turn by turn, one at work at a time, all on the same cores, in random order.

    Repeated with `processes` fresh children per job; a job that does not end well takes part no further. A child's
    first turn is its preparation, for which all work at once.
    """
    order = random.Random(seed)
    shared = cores()[-threads:]  # the last ones: the parent and the system's own work prefer the first
    for _ in range(processes):
        ready = [job for job in jobs if all(answer["status"] == "ok" for answer in job.answers)]
        players = [Player(job, measuring(threads)) for job in ready]
        try:
            for message in (None, {"op": "turn"}, {"op": "pin", "cores": shared}):
                waiting = {player.child: player for player in players}
                for player in players:
                    player.ask(message or player.job.opening())
                while waiting:
                    for child in answered(waiting):
                        player = waiting.pop(child)
                        if player.answer(lambda _: None)["event"] == "end":
                            players.remove(player)
                            child.close()
            while players:
                for player in order.sample(players, len(players)):
                    player.ask({"op": "turn"})
                    if player.answer(lambda done: advance(done / processes))["event"] == "end":
                        players.remove(player)
                        player.child.close()
        finally:
            end([player.child for player in players])
