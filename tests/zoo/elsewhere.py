"""A Python module of the user's own, which forwards and losses read from."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from tests.zoo.records import Net

SCALE = 1.0
OPTIONS = {"scale": 1.0}
FACTORS: list[float] = [1.0]


def scale() -> float:
    """The global, read here."""
    return SCALE


def helper() -> float:
    """The global, read one call further down."""
    return scale()


def decorated(function: Callable[..., float]) -> Callable[..., float]:
    """A wrapper that reads the global."""
    return lambda *args: function(*args) * SCALE


class Settings:
    """Options that lie on a class."""

    scale = 1.0
    nested: ClassVar[dict[str, float]] = {"scale": 1.0}


class Scaled(Net):
    """A network that is defined here."""

    def factor(self) -> float:
        """The global of its own Python module."""
        return SCALE


class Gain(nn.Module):
    """A layer without parameters that is defined here."""

    power = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """x times a global and a class attribute."""
        return x * SCALE * self.power
