"""An implementation under examination: what every term of the contract is checked with."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from baselines.contract import TaskBatch, trainable
from experiments.harness.measure.ring import Ring
from experiments.harness.measure.setup import Setup, as_arrays, points_of
from experiments.harness.status import Unavailable
from experiments.judging.verify import Reference, Weights
from experiments.problems.tasks.stream import Arrays

Truth = Callable[[Weights, Arrays], Reference]
"""The ground truth at these weights and points; raises Unavailable where they cannot be judged."""
TRIES = 8
"""Weights and batches that are tried, of which the first that can be judged is."""


@dataclass(frozen=True)
class Examined:
    """An implementation under examination, with a ring of meta-batches of the timed shape.

    larger: builds the same with that many inner steps; raises Unavailable.
    """

    setup: Setup
    ring: Ring
    truth: Truth
    threads: int
    larger: Callable[[int], Setup]

    def judgeable(self, batch: TaskBatch | None = None, tasks: int | None = None) -> tuple[TaskBatch, Reference] | None:
        """Move the weights on, and find a batch that can be judged there; None where eight cannot.

        batch: the one that is meant, at whatever weights; tasks: of so many tasks.
        """
        for _ in range(TRIES):
            self.ring.move()
            chosen = batch or (self.ring.next() if tasks is None else self._of(tasks))
            with suppress(Unavailable):
                return chosen, self.truth(as_arrays(trainable(self.setup.spec.model)), points_of(chosen))
        return None

    def _of(self, tasks: int) -> TaskBatch:
        """Return a batch of so many tasks."""
        whole = self.ring.next()
        while len(whole.support_x) < tasks:
            whole = TaskBatch(*(torch.cat(parts) for parts in zip(whole, self.ring.next(), strict=True)))
        return TaskBatch(*(part[:tasks].clone() for part in whole))
