"""Define streams of few-shot classification: tasks are episodes of N classes with K support images each.

Training classes are in no other split. A label is the position of a class in its episode, as a one-hot vector, so that
a cross-entropy with targets of probabilities serves.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.problems.tasks.draws import Floats, Source
from experiments.problems.tasks.stream import Arrays

Ids = NDArray[np.int64]
SPLITS = {"heldout": "test", "sheet": "test", "look": "validation"}  # by a stream's purpose; other purposes train


class Classes(Protocol):
    """A set of classes of images, written as functions of uniform draws."""

    name: str
    version: int
    """A number to increase whenever the same draws give other images."""
    side: int
    """Images have side×side pixels, 0 for paper to 1 for ink."""
    per_class: int
    """The number of uniforms that an episode draws for each of its classes."""
    per_image: int
    """The number of uniforms that it draws for each image besides."""

    def split(self, name: str) -> Ids:
        """Return the numbers of the classes of "train", "validation" or "test"."""

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """Return different images of each class, (n, points, side·side).

        classes: (n,); chosen: (n, per_class) uniforms; varied: (n, points, per_image) uniforms.
        Raises ValueError where a class has fewer than `points` images.
        """


@dataclass
class Episodes:
    """Meta-batches of `tasks` episodes of `ways` classes with `shots` support and `queries` query images each.

    Support and query points are ordered by class. Raises ValueError where there are fewer classes than `ways`.
    """

    family: Classes
    seed: int
    tasks: int
    ways: int
    shots: int
    queries: int
    purpose: str = "train"
    source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        split = SPLITS.get(self.purpose, "train")
        self.classes = self.family.split(split)
        if self.ways > len(self.classes):
            has = f"{self.family.name} has {len(self.classes)} {split} classes"
            raise ValueError(f"{self.ways} ways are too many: {has}")
        label = f"{self.family.name} v{self.family.version} {self.purpose}"
        self.source = Source(label, self.seed, self.tasks, f"{self.ways} {self.shots} {self.queries}")

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the raw draws of every meta-batch so far, with the names and sizes behind them."""
        return self.source.digest

    def batch(self, index: int) -> Arrays:
        """Return meta-batch `index`, in O(1)."""
        family, points = self.family, self.shots + self.queries
        n, pixels = self.tasks * self.ways, family.side * family.side
        sizes = np.cumsum([len(self.classes), self.ways * family.per_class, self.ways * points * family.per_image])
        draws = self.source.uniforms(index, int(sizes[-1]))
        order, chosen, varied = np.split(draws, sizes[:-1], axis=1)
        classes = self.classes[np.argsort(order, axis=1)[:, : self.ways]]  # (tasks, ways), different ones
        varied = varied.reshape(n, points, family.per_image)
        x = family.images(classes.reshape(n), chosen.reshape(n, family.per_class), varied)
        x = x.reshape(self.tasks, self.ways, points, pixels)
        y = np.broadcast_to(np.eye(self.ways)[None, :, None], (self.tasks, self.ways, points, self.ways)).copy()
        parts = (x[:, :, : self.shots], y[:, :, : self.shots], x[:, :, self.shots :], y[:, :, self.shots :])
        return Arrays(*(np.ascontiguousarray(part.reshape(self.tasks, -1, part.shape[-1])) for part in parts))


def without_replacement(draws: Floats, points: int) -> Ids:
    """Choose `points` different items in each row, (rows, points) indices; every item of a row has one uniform.

    Raises ValueError where there are fewer items.
    """
    if points > draws.shape[1]:
        raise ValueError(f"{points} images of a class are too many: there are {draws.shape[1]}")
    indices: Ids = np.argsort(draws, axis=1)[:, :points]
    return indices
