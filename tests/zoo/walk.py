"""One network that reads many things, and ways to change each: to go from state to state at random."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo import elsewhere
from tests.zoo.records import DOUBLE, Net

SCALE = {"value": 1.0}


class Everything(Net):
    """Reads attributes, containers, objects, globals, tensors and modes."""

    of_class = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.options, self.factors = 1.0, {"scale": 1.0}, [1.0, 1.0]
        self.inner, self.activation = SimpleNamespace(scale=1.0), torch.tanh
        self.tensor = torch.ones(4, dtype=DOUBLE)
        self.register_buffer("buffer", torch.ones(4, dtype=DOUBLE))
        self.drop, self.middle = nn.Dropout(1.0).eval(), nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), nn.Softsign())

    def forward(self, x: Tensor) -> Tensor:
        """(points, 3) to (points, 3)."""
        h = self.activation(self.a(x)) * self.scale * self.options["scale"] * self.factors[0] * self.inner.scale
        h = h * self.tensor * self.buffer * self.of_class * elsewhere.helper() * SCALE["value"]
        return self.b(h + self.drop(self.middle(h)))  # type: ignore[no-any-return]


class Weighed:
    """The squared error times an attribute."""

    def __init__(self) -> None:
        self.scale = 1.0

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.scale * F.mse_loss(prediction, target)


def _toggled(layer: nn.Module) -> None:
    layer.train(not layer.training)


def _hooked(layer: Any, value: float) -> None:
    layer._forward_hooks.clear()
    if value != 1.0:
        layer.register_forward_hook(lambda module, x, y: value * y)


def _tied(model: Any) -> None:
    tied = model.middle[0].bias is model.a.bias
    model.middle[0].bias = nn.Parameter(model.a.bias.detach().clone()) if tied else model.a.bias


STEPS: dict[str, Callable[[Any, Any, float], object]] = {
    "attribute": lambda m, loss, v: setattr(m, "scale", v),
    "dict": lambda m, loss, v: m.options.update(scale=v),
    "list": lambda m, loss, v: m.factors.__setitem__(0, v),
    "object": lambda m, loss, v: setattr(m.inner, "scale", v),
    "function": lambda m, loss, v: setattr(m, "activation", torch.sin if v > 1 else torch.tanh),
    "tensor": lambda m, loss, v: m.tensor.fill_(v),
    "tensor replaced": lambda m, loss, v: setattr(m, "tensor", torch.full((4,), v, dtype=DOUBLE)),
    "buffer": lambda m, loss, v: m.buffer.fill_(v),
    "class": lambda m, loss, v: setattr(type(m), "of_class", v),
    "global": lambda m, loss, v: SCALE.update(value=v),
    "global elsewhere": lambda m, loss, v: setattr(elsewhere, "SCALE", v),
    "mode": lambda m, loss, v: _toggled(m.drop),
    "frozen": lambda m, loss, v: m.a.bias.requires_grad_(not m.a.bias.requires_grad),
    "layer": lambda m, loss, v: m.middle.__setitem__(1, nn.Softsign() if v > 1 else nn.Tanh()),
    "hook": lambda m, loss, v: _hooked(m.middle[1], v),
    "tied": lambda m, loss, v: _tied(m),
    "weights": lambda m, loss, v: m.a.weight.data.mul_(v),
    "loss": lambda m, loss, v: setattr(loss, "scale", v),
}
VALUES = (0.5, 1.0, 1.5)


@contextmanager
def walk(seed: int) -> Iterator[tuple[Any, Weighed, Callable[[], str]]]:
    """A network, its loss and a function that takes a step at random and names it; globals are as before afterwards.

    With odd seeds it has no tensor that is neither parameter nor buffer, which may keep it from being compiled.
    """
    torch.manual_seed(0)
    draw, model, loss = random.Random(seed), type("Walked", (Everything,), {})(), Weighed()

    names = sorted(STEPS)
    if seed % 2:
        model.tensor = 1.0
        names = [name for name in names if "tensor" not in name]

    def step() -> str:
        name = draw.choice(names)
        STEPS[name](model, loss, draw.choice(VALUES))
        return name

    try:
        yield model, loss, step
    finally:
        SCALE["value"], elsewhere.SCALE = 1.0, 1.0
