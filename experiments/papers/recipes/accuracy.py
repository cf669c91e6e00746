"""How well episodes are told: the same ones for every method and seed, whoever adapts to them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from baselines.contract import TaskBatch
from experiments.harness.case import Json
from experiments.harness.measure.bench import Bench

LOOKS, LOOK_EPISODES = 10, 50  # points of a learning curve after the first, and validation episodes at each
TOLD_STEPS = 10  # accuracy is told after 0 to so many steps
TOGETHER = 25  # episodes that are drawn at once


class Adapts(Protocol):
    """What has been trained, and how it learns a task; predictions are made after the steps that are `told`."""

    @property
    def told(self) -> Sequence[int]:
        """In ascending order."""

    def predictions(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, alone: bool = False) -> Tensor:
        """One task's predictions, (told, points, outputs)."""


def episodes(bench: Bench, purpose: str, count: int) -> Iterator[TaskBatch]:
    """The first `count` episodes of a purpose in which nobody is trained, the same for every seed."""
    together = min(TOGETHER, count)
    bench.stream(purpose, together, seed=0)
    return (bench.batch(i, purpose) for i in range(count // together))


def accuracies(adapts: Adapts, batches: Iterator[TaskBatch], alone: bool = False) -> Tensor:
    """Of each episode, the percentage of its query images told right, (told, episodes)."""
    found = []
    for batch in batches:
        for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
            predicted = adapts.predictions(support_x, support_y, query_x, alone).argmax(-1)
            found.append(100 * (predicted == query_y.argmax(-1)).double().mean(-1))
    return torch.stack(found, dim=1).cpu()


class LearningCurve:
    """The accuracy on validation episodes after `steps` steps, against the iterations of a training."""

    def __init__(self, bench: Bench, steps: int) -> None:
        self.bench, self.steps = bench, steps
        self.series: dict[str, list[float]] = {"iteration": [], "accuracy": []}

    def look(self, iteration: int, adapts: Adapts) -> None:
        """Add a point."""
        found = accuracies(adapts, episodes(self.bench, "look", LOOK_EPISODES))
        self.series["iteration"].append(float(iteration))
        self.series["accuracy"].append(float(found[adapts.told.index(self.steps)].mean()))


@dataclass(frozen=True)
class Learned:
    """What a training gave.

    steps: how many steps it takes to learn a task; row: columns of the recipe; curve: accuracy against iterations,
    empty where there was no training; recipe: what it was trained with, where that depends on the way of testing.
    """

    adapts: Adapts
    steps: int
    row: dict[str, Json]
    curve: dict[str, list[float]]
    recipe: object = None


Method = Callable[[Bench, bool, Learned | None], Generator[float, None, Learned]]
"""Trains for queries that are told all at once, or each `alone`; `Learned` is what it gave for the other way, if so."""
