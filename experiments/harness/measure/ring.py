"""The timing of an implementation: calls that go round a ring of meta-batches, at weights that move.

No call meets a batch and weights that an earlier one met, so nothing is gained by remembering a result, by answering
for the weights of before, or by a wrong answer to what seems to be asked for the clock alone: the result of one call of
a block, which one nobody can know, is kept for judgement.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from baselines.contract import MetaGradient, TaskBatch, trainable, undisturbed
from experiments.harness.measure.clock import BLOCK_S, SETTLE_S, Clock, perf_counter, process_time
from experiments.harness.measure.processors import descendants_s
from experiments.harness.measure.setup import Setup, as_arrays, points_of
from experiments.judging.verify import Weights
from experiments.problems.tasks.draws import raw, uniform
from experiments.problems.tasks.stream import Arrays

SIZE = 16
"""Meta-batches in a ring: a stretch of the quickest calls is then longer than what preparing it did to the caches."""
REACH = 0.2
"""By how much of itself a weight moves at most: enough for every result to be another one."""
FLOOR = 0.01
"""What share of the largest weight of its tensor stands for a smaller one, so that a weight of zero moves, too."""
GOLDEN = (math.sqrt(5) - 1) / 2
COLD_S = 0.005
"""Longer calls do not notice what the caches hold when they begin."""
Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Pick:
    """A result of a call inside a timed block, with the weights and points that it is of."""

    theta: Weights
    points: Arrays
    result: MetaGradient


@dataclass(frozen=True)
class Stretch:
    """Calls in a row: how many, the seconds of all, of their processor time, and of what came before them.

    warming_s: the discarded call's, by the clock of `Ring.work`.
    """

    count: int
    preparing_s: float
    warming_s: float
    wall_s: float
    cpu_s: float
    result: object


@dataclass(frozen=True)
class Block:
    """One sample of the timing.

    step_ms: the mean over calls, everything prepared; conversion_ms: preparing a batch and making tensors of a result;
    work_ms, warming_ms: of a call, and of the discarded one before a stretch (0 where there is none), by the clock of
    `Ring.work`; cpu_per_wall: processor time over time, of all threads and descendants; helpers: the descendants' part.
    """

    step_ms: float
    work_ms: float
    conversion_ms: float
    warming_ms: float
    cpu_per_wall: float
    helpers: float
    pick: Pick


class Ring:
    """Meta-batches that are prepared apart, a stretch of at most the whole ring at a time, and called in turn."""

    def __init__(self, setup: Setup, batches: Sequence[TaskBatch], call: Call | None = None) -> None:
        self.setup, self.baseline, self.batches = setup, setup.baseline, batches
        self.call = call or setup.baseline.meta_gradient
        self.start = {name: p.detach().clone() for name, p in trainable(setup.spec.model).items()}
        self.way = {name: _way(name, start) for name, start in self.start.items()}
        self.moves = self.position = 0
        self.work: Clock = process_time if setup.spec.device.type == "cpu" else perf_counter
        """By which work is looked for where it should not be: processor time, which does not go on while something else
        has the core; with another device, which works while this process waits, time."""

    def move(self) -> None:
        """Change every weight in place, as an optimizer does; the moves are the same for all implementations.

        In one operation for each tensor, since whatever else is done here leaves other things in the caches.
        """
        self.moves += 1
        far = 2 * (self.moves * GOLDEN % 1) - 1  # never the same twice, in any order of ups and downs
        for name, p in trainable(self.setup.spec.model).items():
            torch.add(self.start[name], self.way[name], alpha=far, out=p.detach())

    def rest(self) -> None:
        """Put the weights back to where they were."""
        with torch.no_grad():
            for name, p in trainable(self.setup.spec.model).items():
                p.copy_(self.start[name])

    def next(self) -> TaskBatch:
        """Return the following meta-batch, as tensors of its own."""
        self.position = (self.position + 1) % len(self.batches)
        return TaskBatch(*(part.clone() for part in self.batches[self.position]))

    def stretch(self, count: int, warm: bool) -> "Stretch":
        """Move the weights, prepare the following `count` meta-batches, and call with each in turn.

        warm: one call comes before, whose own time stands apart, so that code and caches are this implementation's own
        again; it has a batch of its own, and could not take over much of the work of the others without being slow.
        """
        self.move()
        first = self.next() if warm else None
        batches = [self.next() for _ in range(count)]
        start = perf_counter()
        prepared = [self.baseline.prepare(batch) for batch in batches]
        preparing_s = (perf_counter() - start) / count
        warming_s = 0.0
        if first:
            ready = [self.baseline.prepare(first)]
            begin = self.work()
            self._time(ready)
            warming_s = self.work() - begin
        return Stretch(count, preparing_s, warming_s, *self._time(prepared))

    def _time(self, prepared: list[Any]) -> tuple[float, float, Any]:
        """Call with each in turn: seconds, seconds of this process' processor time, and the last result."""
        last = prepared.pop()
        cpu, start = process_time(), perf_counter()
        for each in prepared:
            self.call(each)
        result = self.call(last)
        self.baseline.synchronize()
        return perf_counter() - start, process_time() - cpu, result

    @undisturbed()
    def whole_call_s(self, clock: Clock = perf_counter) -> float:
        """Return the seconds of a call as training makes it: another batch and weights, and tensors as its result."""
        self.move()
        batch, start = self.next(), clock()
        self.baseline.to_torch(self.call(self.baseline.prepare(batch)))
        self.baseline.synchronize()
        return clock() - start

    def whole_call_ms(self) -> float:
        """Return the median milliseconds of whole calls that take 10 ms together, or of one."""
        seconds = [self.whole_call_s()]
        while sum(seconds) < SETTLE_S:
            seconds.append(self.whole_call_s())
        return median(seconds) * 1e3

    @undisturbed()
    def block(self) -> Block:
        """Time calls for at least 50 ms, stretch by stretch, after at least 10 ms that are discarded."""
        call_s = self._settle()
        chosen = secrets.randbelow(max(1, round(BLOCK_S / call_s)))
        stretches: list[Stretch] = []
        calls, wall = 0, 0.0
        pick: Pick | None = None
        begin, helpers = perf_counter(), descendants_s()
        warm = call_s < COLD_S
        most = len(self.batches) - warm  # the discarded call has a batch, too
        while wall < BLOCK_S or pick is None:
            count = min(most, max(1, math.ceil((BLOCK_S - wall) / call_s)))
            if pick is None:
                count = min(count, chosen - calls + 1)
            stretch = self.stretch(count, warm)
            calls, wall = calls + count, wall + stretch.wall_s
            if calls == chosen + 1:
                pick, converting_s = self._pick(stretch.result)
            stretches.append(replace(stretch, result=None))
        share = (descendants_s() - helpers) / (perf_counter() - begin)
        cpu = sum(s.cpu_s for s in stretches)
        return Block(
            step_ms=wall / calls * 1e3,
            work_ms=(cpu if self.work is process_time else wall) / calls * 1e3,
            conversion_ms=(median(s.preparing_s for s in stretches) + converting_s) * 1e3,
            warming_ms=median(s.warming_s for s in stretches) * 1e3,
            cpu_per_wall=cpu / wall + share,
            helpers=share,
            pick=pick,
        )

    def _settle(self) -> float:
        """Discard calls until caches are this implementation's own; return the seconds of one."""
        calls, wall = 0, 0.0
        while wall < SETTLE_S:
            count = min(len(self.batches), max(1, math.ceil(SETTLE_S * calls / wall) - calls)) if calls else 1
            wall += self.stretch(count, warm=False).wall_s
            calls += count
        return wall / calls

    def _pick(self, result: Any) -> tuple[Pick, float]:
        """Make tensors of a result, and keep them with the present weights and batch; the seconds of the former."""
        start = perf_counter()
        tensors = self.baseline.to_torch(result)
        seconds = perf_counter() - start
        batch = self.batches[self.position]
        return Pick(as_arrays(trainable(self.setup.spec.model)), points_of(batch), tensors), seconds


def _way(name: str, start: Tensor) -> Tensor:
    """Draw how far each weight of a tensor moves at most."""
    share = 2 * uniform(raw(f"moved weights v2 {name}", 0, 0, start.numel())) - 1
    size = start.abs().clamp_min(FLOOR * float(start.abs().max()) or FLOOR) if start.numel() else start
    return REACH * size * torch.from_numpy(share).reshape(start.shape).to(start)
