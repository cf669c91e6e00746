"""Define streams of meta-batches of regression tasks: meta-batch i is a function of the seed and i alone."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from experiments.problems.tasks.draws import Floats, Source


class Family(Protocol):
    """A task family: a distribution over tasks, written as a function of uniform draws."""

    name: str
    version: int
    """A number to increase whenever the same draws give other tasks."""
    inputs: int
    """The number of input features."""
    parameters: int
    """The number of uniforms that determine a task."""

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, x (tasks, points, inputs) and y (tasks, points, 1).

        task: (tasks, parameters) uniforms; x: (tasks, points, inputs) uniforms.
        """


class Arrays(NamedTuple):
    """One meta-batch in float64: x (tasks, points, inputs) and y (tasks, points, outputs), support and query."""

    support_x: Floats
    support_y: Floats
    query_x: Floats
    query_y: Floats


@dataclass
class Stream:
    """A stream of meta-batches of `tasks` tasks with `shots` support and `queries` query points each.

    As in the tutorial notebook, the points of a task are drawn together and split at random. `purpose` separates
    streams of one seed, such as training and held-out tasks.
    """

    family: Family
    seed: int
    tasks: int
    shots: int
    queries: int
    purpose: str = "train"
    source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        label = f"{self.family.name} v{self.family.version} {self.purpose}"
        self.source = Source(label, self.seed, self.tasks, f"{self.shots} {self.queries}")

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the raw draws of every meta-batch so far, with the names and sizes behind them."""
        return self.source.digest

    def batch(self, index: int) -> Arrays:
        """Return meta-batch `index`, in O(1)."""
        family, points = self.family, self.shots + self.queries
        sizes = np.cumsum([family.parameters, points * family.inputs, points])
        draws = self.source.uniforms(index, int(sizes[-1]))
        task, x, order = np.split(draws, sizes[:-1], axis=1)
        x, y = family.points(task, x.reshape(self.tasks, points, family.inputs))
        split = np.argsort(order, axis=1)[:, :, None]  # (tasks, points, 1): a random permutation of each task's points
        x, y = np.take_along_axis(x, split, 1), np.take_along_axis(y, split, 1)
        parts = (x[:, : self.shots], y[:, : self.shots], x[:, self.shots :], y[:, self.shots :])
        return Arrays(*map(np.ascontiguousarray, parts))
