"""How a method is trained where its paper's own way counts: one file is one recipe.

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
    """A trained model and how it is to be adapted.

    lr: the step size of gradient descent on a new task; family: whose points it takes as inputs.
    """

    model: nn.Module
    lr: float
    family: str


Recipe = Callable[["Bench"], Generator[float, None, Trained]]
LOOKS = 20  # at how many points of a training a recipe tells how far it is
