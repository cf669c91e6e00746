"""Measure the accuracy of adapted models on episodes, the same episodes for every method and seed."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from baselines.contract import TaskBatch
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Row

LOOKS, LOOK_EPISODES = 10, 50  # points of a learning curve after the first, and validation episodes at each
REPORTED_STEPS = 10  # accuracy is reported after 0 to this many steps
BATCH = 25  # episodes that are drawn at once


class Adapts(Protocol):
    """A trained model that adapts to a task; `told` holds the steps after which it predicts."""

    @property
    def told(self) -> Sequence[int]:
        """Return the numbers of steps after which predictions are made, in ascending order."""

    def predictions(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, alone: bool = False) -> Tensor:
        """Adapt to one task; return predictions for its query points, (numbers of steps, points, outputs).

        alone: each query point by itself, so that networks that normalise by the points at hand see no other.
        """


def episodes(bench: Bench, purpose: str, count: int) -> Iterator[TaskBatch]:
    """Return the first `count` episodes of a stream that is not for training, in batches; the same for every seed."""
    size = min(BATCH, count)
    bench.stream(purpose, size, seed=0)
    return (bench.batch(i, purpose) for i in range(count // size))


def accuracies(adapts: Adapts, batches: Iterator[TaskBatch], alone: bool = False) -> Tensor:
    """Compute the percentage of query images classified right, (numbers of steps, episodes).

    alone: each query image is classified by itself.
    """
    percentages = []
    for batch in batches:
        for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
            predicted = adapts.predictions(support_x, support_y, query_x, alone).argmax(-1)
            percentages.append(100 * (predicted == query_y.argmax(-1)).double().mean(-1))
    return torch.stack(percentages, dim=1).cpu()


class LearningCurve:
    """The accuracy on validation episodes after `steps` steps of adaptation, against the iterations of a training."""

    def __init__(self, bench: Bench, steps: int) -> None:
        self.bench, self.steps = bench, steps
        self.series: dict[str, list[float]] = {"iteration": [], "accuracy": []}

    def look(self, iteration: int, adapts: Adapts) -> None:
        """Measure the accuracy and add it to the curve."""
        percentages = accuracies(adapts, episodes(self.bench, "look", LOOK_EPISODES))
        self.series["iteration"].append(float(iteration))
        self.series["accuracy"].append(float(percentages[adapts.told.index(self.steps)].mean()))


@dataclass(frozen=True)
class Learned:
    """The result of a training.

    steps: the number of steps of adaptation to a task; row: columns about the recipe; curve: accuracy against
    iterations, empty without training; recipe: the settings of the training, where they depend on the mode of testing.
    """

    adapts: Adapts
    steps: int
    row: Row
    curve: dict[str, list[float]]
    recipe: object = None


Method = Callable[[Bench, bool, Learned | None], Generator[float, None, Learned]]
"""A generator that trains for testing with all queries at once (False) or each query alone (True).

The `Learned` is its result for the other mode, which may serve again; None in the first mode.
"""
