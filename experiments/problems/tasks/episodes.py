"""Few-shot classification: a stream of meta-batches whose tasks are episodes, N classes with K support images each.

Training, validation and test classes are disjoint. A label is the place of a class in its episode, written one-hot, so
that the cross-entropy with it is that of the label.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.problems.tasks.draws import Floats, Source
from experiments.problems.tasks.stream import Arrays

Ids = NDArray[np.int64]
SPLITS = {"heldout": "test", "sheet": "test", "look": "validation"}  # of a stream's purpose; the others train


class Classes(Protocol):
    """A set of classes, and images of them as functions of uniform draws."""

    name: str
    version: int
    """Changes whenever the same draws give other images."""
    side: int
    """Images have side×side pixels, 0 for paper to 1 for ink."""
    per_class: int
    """The number of uniforms that an episode draws for each of its classes."""
    per_image: int
    """The number of uniforms that it draws for each image besides."""

    def split(self, name: str) -> Ids:
        """The classes that "train", "validation" or "test" has."""

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """Different images of each class.

        classes: (n,); chosen: (n, per_class) uniforms; varied: (n, points, per_image) uniforms.
        Returns (n, points, side·side). Raises ValueError where a class has fewer than `points` images.
        """


@dataclass
class Episodes:
    """Meta-batches of `tasks` episodes of `ways` classes, each with `shots` support and `queries` query images.

    Support and query points come class by class. Raises ValueError where there are fewer classes than `ways`.
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
        """SHA-256 of the raw draws of every batch taken so far, with the names and sizes behind them."""
        return self.source.digest

    def batch(self, index: int) -> Arrays:
        """Meta-batch `index`, in O(1)."""
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
    """`points` different ones of the items that each row has a uniform for, (rows, points); raises ValueError."""
    if points > draws.shape[1]:
        raise ValueError(f"{points} images of a class are too many: there are {draws.shape[1]}")
    found: Ids = np.argsort(draws, axis=1)[:, :points]
    return found
