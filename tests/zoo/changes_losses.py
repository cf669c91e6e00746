"""The loss's own state."""

import functools
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo import elsewhere
from tests.zoo.records import DOUBLE, Change, attribute, done, filled, item, mlp

HERE = sys.modules[__name__]
BETA = 1.0


class Plain(nn.Module):
    """A loss with plain attributes only."""

    of_class = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.beta, self.options = 1.0, {"scale": 1.0}

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The scalar."""
        scale = self.options["scale"] * self.of_class * (1.0 if self.training else 2.0)
        return F.smooth_l1_loss(prediction, target, beta=self.beta) * scale


class Huber(nn.Module):
    """A loss with attributes, a buffer and a parameter of its own."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.beta, self.reduction = 1.0, "mean"
        self.register_buffer("weight", torch.ones(3, dtype=DOUBLE))
        self.rate = nn.Parameter(torch.ones((), dtype=DOUBLE))
        self.drop = nn.Dropout(0.0)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The scalar."""
        points = F.smooth_l1_loss(prediction, target, beta=self.beta, reduction="none") * self.weight
        scale = self.rate
        return self.drop(points).mean() * (scale if self.training else 2 * scale)  # type: ignore[no-any-return]


class Object:
    """A loss that is an object, neither function nor module."""

    def __init__(self) -> None:
        self.scale = 1.0

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.scale * F.mse_loss(prediction, target)

    def method(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A loss that is bound."""
        return self.scale * F.mse_loss(prediction, target)


def of_global(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that reads a global."""
    return F.smooth_l1_loss(prediction, target, beta=BETA)


def of_elsewhere(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that reads the global of another Python module."""
    return elsewhere.helper() * F.mse_loss(prediction, target)


def of_default(prediction: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    """A loss with a default."""
    return scale * F.mse_loss(prediction, target)


def absolute(prediction: Tensor, target: Tensor) -> Tensor:
    """Another loss's code."""
    return F.smooth_l1_loss(prediction, target, beta=0.5)


def squared(prediction: Tensor, target: Tensor) -> Tensor:
    """The code to be replaced."""
    return F.mse_loss(prediction, target)


def noted(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that reads an attribute of itself."""
    return noted.scale * F.mse_loss(prediction, target)  # type: ignore[attr-defined,no-any-return]


noted.scale = 1.0  # type: ignore[attr-defined]


def with_cell() -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that reads a cell, with the function that writes it."""
    scale = 1.0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return scale * F.mse_loss(prediction, target)

    def write(value: float) -> None:
        nonlocal scale
        scale = value

    loss.write = write  # type: ignore[attr-defined]
    return loss


def weighted() -> Callable[[Tensor, Tensor], Tensor]:
    """A loss with weights in a tensor of a cell."""
    weights = torch.ones(3, dtype=DOUBLE)

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return (weights * (prediction - target) ** 2).mean()

    loss.weights = weights  # type: ignore[attr-defined]
    return loss


def in_partial() -> Callable[[Tensor, Tensor], Tensor]:
    """A loss with a keyword."""
    return functools.partial(F.smooth_l1_loss, beta=1.0)


CHANGES = (
    Change("an attribute of the loss", mlp, lambda _, loss: patch.object(loss, "beta", 0.1), Plain),
    Change("a dict of the loss", mlp, lambda _, loss: item(loss.options, "scale", 3.0), Plain),
    Change("a class attribute of the loss", mlp, lambda _, loss: patch.object(Plain, "of_class", 3.0), Plain),
    Change("the mode of the loss", mlp, lambda _, loss: done(loss.eval, loss.train), Plain),
    Change("a buffer of the loss", mlp, lambda _, loss: filled(loss.weight, 3.0), Huber),
    Change(
        "a buffer of the loss replaced",
        mlp,
        lambda _, loss: attribute(loss, "weight", torch.full((3,), 3.0, dtype=DOUBLE)),
        Huber,
    ),
    Change("a parameter of the loss", mlp, lambda _, loss: filled(loss.rate, 3.0), Huber),
    Change("a rate of the loss's child", mlp, lambda _, loss: patch.object(loss.drop, "p", 1.0), Huber),
    Change("the loss's forward", mlp, lambda _, loss: patch.object(loss, "forward", F.mse_loss), Plain),
    Change(
        "the loss's class", mlp, lambda _, loss: patch.object(Plain, "forward", lambda _, p, y: F.mse_loss(p, y)), Plain
    ),
    Change("a hook of the loss", mlp, lambda _, loss: _hooked(loss), Plain),
    Change("an attribute of a loss that is an object", mlp, lambda _, loss: patch.object(loss, "scale", 3.0), Object),
    Change(
        "what a bound method reads as the loss",
        mlp,
        lambda _, loss: patch.object(loss.__self__, "scale", 3.0),
        lambda: Object().method,
    ),
    Change(
        "a cell of the loss",
        mlp,
        lambda _, loss: done(lambda: loss.write(3.0), lambda: loss.write(1.0)),
        with_cell,
        telling=True,
    ),
    Change("a tensor in a cell of the loss", mlp, lambda _, loss: filled(loss.weights, 3.0), weighted),
    Change("a keyword of a partial as the loss", mlp, lambda _, loss: item(loss.keywords, "beta", 0.1), in_partial),
    Change("a global of the loss", mlp, lambda _, loss: patch.object(HERE, "BETA", 0.1), lambda: of_global),
    Change(
        "a global of another Python module, two calls down the loss",
        mlp,
        lambda _, loss: patch.object(elsewhere, "SCALE", 3.0),
        lambda: of_elsewhere,
    ),
    Change(
        "a default of the loss",
        mlp,
        lambda _, loss: patch.object(of_default, "__defaults__", (3.0,)),
        lambda: of_default,
    ),
    Change("the loss's code", mlp, lambda _, loss: attribute(squared, "__code__", absolute.__code__), lambda: squared),
    Change(
        "an attribute of the loss's function", mlp, lambda _, loss: patch.object(noted, "scale", 3.0), lambda: noted
    ),
    Change(
        "a function of torch.nn.functional in the loss",
        mlp,
        lambda _, loss: patch.object(F, "mse_loss", absolute),
        lambda: squared,
    ),
    Change(
        "the mean of all points replaced in torch's loss",
        mlp,
        lambda _, loss: attribute(loss, "reduction", "sum"),
        nn.MSELoss,
    ),
)


def _hooked(loss: nn.Module) -> Any:
    handles: list[Any] = []
    return done(
        lambda: handles.append(loss.register_forward_hook(lambda module, x, y: 3 * y)), lambda: handles.pop().remove()
    )
