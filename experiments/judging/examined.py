"""Hold what the terms of the contract are checked with: an implementation, meta-batches and the ground truth."""

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
"""Computes the ground truth at weights and points; raises Unavailable where they cannot be judged."""
TRIES = 8
"""How many weights and batches are tried until one can be judged."""


@dataclass(frozen=True)
class Examined:
    """An implementation under examination, with a ring of meta-batches of the timed shape.

    larger: builds the same implementation with another number of inner steps; raises Unavailable.
    """

    setup: Setup
    ring: Ring
    truth: Truth
    threads: int
    larger: Callable[[int], Setup]

    def judgeable(self, batch: TaskBatch | None = None, tasks: int | None = None) -> tuple[TaskBatch, Reference] | None:
        """Move the weights and return a batch that can be judged there, with its reference; None after eight failures.

        batch: the batch to judge, at whatever weights; else one of the ring, or one of `tasks` tasks.
        """
        for _ in range(TRIES):
            self.ring.move()
            chosen = batch or (self.ring.next() if tasks is None else self._of(tasks))
            with suppress(Unavailable):
                return chosen, self.truth(as_arrays(trainable(self.setup.spec.model)), points_of(chosen))
        return None

    def _of(self, tasks: int) -> TaskBatch:
        """Return a batch of this number of tasks, from those of the ring."""
        whole = self.ring.next()
        while len(whole.support_x) < tasks:
            whole = TaskBatch(*(torch.cat(parts) for parts in zip(whole, self.ring.next(), strict=True)))
        return TaskBatch(*(part[:tasks].clone() for part in whole))
