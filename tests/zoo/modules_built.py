"""Networks with parameters of a kind of their own, and functions that a forward calls."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.modules_written import between, parameter, square, written
from tests.zoo.records import DOUBLE, Build, Net


class KeywordsOnly(nn.Module):
    """A child whose forward takes keywords only, and gives several things back."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(4, 4)

    def forward(self, *, hidden: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        """A dict of tensors."""
        return {"hidden": torch.tanh(self.c(hidden)) * scale, "other": hidden}


class Stepped(Net):
    """A network whose buffer counts its forwards, and is read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=DOUBLE))

    def factor(self) -> Tensor:
        """More at each forward."""
        self.calls += 1
        return torch.ones((), dtype=DOUBLE) + self.calls  # type: ignore[no-any-return]


class Shared(nn.Module):
    """One layer in two places, and a weight used in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(3, 3)
        self.d = self.c
        self.decoder = nn.Linear(3, 3)
        self.decoder.weight = self.c.weight

    def forward(self, x: Tensor) -> Tensor:
        """An autoencoder."""
        h = torch.tanh(self.d(torch.tanh(self.c(x))))
        return F.linear(self.decoder(h), self.c.weight.T)


class Unused(Net):
    """A network with a layer, a parameter and a buffer that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2, dtype=DOUBLE)
        self.empty = nn.Parameter(torch.zeros(0, 3, dtype=DOUBLE))
        self.register_buffer("table", torch.arange(3))


def experts() -> nn.ModuleList:
    """Three layers."""
    return nn.ModuleList([square() for _ in range(3)])


def scalars() -> Build:
    """Parameters without axes."""
    return between(lambda m, h: torch.tanh(h * m.gain) + m.shift, gain=parameter(), shift=parameter())


def expanded() -> nn.Module:
    """A network whose parameters are views of one another's memory."""
    model = Net()
    flat = torch.randn(4 * 3 + 4, dtype=DOUBLE)
    model.a.weight, model.a.bias = nn.Parameter(flat[:12].view(4, 3)), nn.Parameter(flat[12:])
    return model


def strided() -> nn.Module:
    """A network whose parameters are not contiguous."""
    model = Net()
    model.a.weight = nn.Parameter(torch.randn(3, 4, dtype=DOUBLE).T)
    model.b.weight = nn.Parameter(torch.randn(3, 8, dtype=DOUBLE)[:, ::2])
    return model


def classified(prediction: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with classes derived from the targets."""
    return F.cross_entropy(prediction, target.argmax(1))


def cnn() -> nn.Module:
    """A network that JAX serves."""
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2, 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 3)).to(DOUBLE)


def mapped(h: Tensor) -> Tensor:
    """A function of each point by vmap."""
    result: Tensor = torch.func.vmap(lambda point: torch.tanh(point) * point.sum())(h)
    return result


def own_gradient(h: Tensor) -> Tensor:
    """A derivative within the forward, by torch.autograd."""
    with torch.enable_grad():
        energy = torch.sin(h).square().sum()
        (force,) = torch.autograd.grad(energy, h, create_graph=True)
    return h - force


def own_gradient_by_func(h: Tensor) -> Tensor:
    """A derivative within the forward, by torch.func."""
    force: Tensor = torch.func.grad(lambda h: torch.sin(h).square().sum())(h)
    return h - force


def without_gradient(h: Tensor) -> Tensor:
    """A part within no_grad."""
    with torch.no_grad():
        scale = h.abs().mean()
    return torch.tanh(h) * scale


def with_alias() -> nn.Module:
    """A network with a second reference to one of its weights, in a list."""
    model = between(lambda m, h: h * m.kept[0][:, 0], kept=list)()
    model.kept.append(model.a.weight)  # type: ignore[operator,union-attr]
    return model


def only_a_bias() -> nn.Module:
    """A network of which one bias is trained."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE).requires_grad_(False)
    model[0].bias.requires_grad_(True)
    return model


def frozen_but_scale() -> nn.Module:
    """A network of which a number is trained."""
    model = between(lambda m, h: torch.tanh(h) * m.scale, scale=parameter())()
    for layer in (model.a, model.b):
        layer.requires_grad_(False)  # type: ignore[operator]
    return model


def in_place_input(really: bool = True) -> nn.Module:
    """A network that doubles its input in place, or a copy of it."""
    return written(lambda m, x: m.b(torch.tanh(m.a(x.mul_(2) if really else 2 * x))))()


def wrapped() -> Any:
    """A network whose parameters have the names that torch.compile gives them."""
    original = Net()
    model = written(lambda m, x: m._orig_mod(x), _orig_mod=lambda: original)()
    del model.a, model.b
    return model


def compiled() -> Any:
    """A network behind torch.compile."""
    return torch.compile(Net(), backend="eager")
