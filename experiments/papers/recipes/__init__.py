"""Train each method as its paper does: one file is one recipe.

A recipe is a generator that takes a bench, yields the fraction of its work that is done and returns a `Trained`.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from experiments.harness.measure.bench import Bench


@dataclass(frozen=True)
class Trained:
    """A trained model and how it is adapted to a new task.

    lr: the step size of gradient descent; family: the task family whose points it takes.
    """

    model: nn.Module
    lr: float
    family: str


Recipe = Callable[["Bench"], Generator[float, None, Trained]]
LOOKS = 20  # how often a recipe yields its progress during a training
