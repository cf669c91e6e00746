"""Parameters and buffers changed, frozen or replaced; and tensors that are neither."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.zoo.records import DOUBLE, Change, Net, attribute, done, filled, item, mlp, net

GLOBAL = torch.ones(4, dtype=DOUBLE)
ONES = torch.ones(4, dtype=DOUBLE)


class Buffered(Net):
    """A network with buffers, one of them not in its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(4, dtype=DOUBLE))
        self.register_buffer("hidden", torch.ones((), dtype=DOUBLE), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("none", None)

    def factor(self) -> Any:
        """Their product."""
        return self.scale * self.hidden * (1 + self.count) * (1.0 if self.none is None else self.none)


class Branching(Buffered):
    """Takes numbers out of its buffers."""

    def factor(self) -> Any:
        """By Python's control flow."""
        return 3.0 if self.count.item() > 0 else float(self.hidden)


class Unused(Net):
    """A network with parameters that may be used, and a floating-point one of another dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.used = False
        self.other = nn.Parameter(torch.full((4,), 3.0, dtype=DOUBLE))
        self.small = nn.Parameter(torch.full((1,), 1.25))
        self.influence = 1.0

    def factor(self) -> Any:
        """One parameter where it is used, and always one of another dtype."""
        factor = 1 + self.influence * torch.sin(self.small.double())
        return factor * self.other if self.used else factor


def with_array() -> Net:
    """A network whose tensor shares a NumPy array's memory."""
    model = net(lambda m: m.tensor)()
    model.tensor = torch.ones(4, dtype=DOUBLE)
    model.array = model.tensor.numpy()
    return model


def with_cell() -> Net:
    """A network that reads a tensor from a cell."""
    tensor = ONES.clone()
    model = net(lambda m: tensor)()
    model.write = tensor.fill_
    return model


def by_data(tensor: Tensor, value: float) -> AbstractContextManager[None]:
    """Changed in place behind autograd's and every counter's back."""
    before = tensor.data.clone()
    return done(lambda: tensor.data.fill_(value), lambda: tensor.data.copy_(before))


def memory(parameter: Tensor, change: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    """Another tensor's memory for a parameter's."""
    return attribute(parameter, "data", change(parameter.data))


def frozen(*parameters: Any) -> AbstractContextManager[None]:
    """No gradient is required; then it is again."""
    return done(
        lambda: [p.requires_grad_(not p.requires_grad) for p in parameters],
        lambda: [p.requires_grad_(not p.requires_grad) for p in parameters],
    )


def trained_head() -> Any:
    """A network whose first layer is frozen."""
    model = mlp()
    model[0].requires_grad_(False)
    return model


def rectangular(x: Tensor) -> Tensor:
    """The same shape with other strides and other values."""
    return (1.5 * x).T.contiguous().T


CHANGES = (
    Change("a parameter, in place", mlp, lambda m, _: filled(m[0].weight, m[0].weight.detach() * 2)),
    Change("a parameter, by .data", mlp, lambda m, _: by_data(m[0].weight, 0.5)),
    Change("a parameter's memory", mlp, lambda m, _: memory(m[0].weight, lambda x: 2 * x)),
    Change("a parameter's strides", mlp, lambda m, _: memory(m[0].weight, rectangular)),
    Change(
        "a parameter that is part of a larger tensor",
        mlp,
        lambda m, _: memory(m[0].weight, lambda x: torch.stack([x, 2 * x], 2)[..., 1]),
    ),
    Change(
        "a parameter whose elements are one in memory", mlp, lambda m, _: memory(m[0].bias, lambda x: x[:1].expand(4))
    ),
    Change("parameters that overlap in memory", mlp, lambda m, _: memory(m[2].bias, lambda x: m[0].bias.data[:3])),
    Change("a parameter replaced", mlp, lambda m, _: attribute(m[0], "weight", nn.Parameter(2 * m[0].weight.detach()))),
    Change(
        "a parameter replaced by one of another shape",
        net(lambda m: m.gain, gain=nn.Parameter(torch.ones(4, dtype=DOUBLE))),
        lambda m, _: attribute(m, "gain", nn.Parameter(3 * torch.ones((), dtype=DOUBLE))),
    ),
    Change(
        "a parameter replaced by one of another dtype",
        Unused,
        lambda m, _: attribute(m, "small", nn.Parameter(torch.full((1,), 0.25, dtype=DOUBLE))),
        tolerance=1e-6,
    ),
    Change(
        "a parameter of another dtype, in place",
        Unused,
        lambda m, _: filled(m.small, 0.25),
        tolerance=1e-6,
        telling=True,
    ),
    Change(
        "the influence of a parameter of another dtype",
        lambda: _faint(),
        lambda m, _: patch.object(m, "influence", 1.0),
        tolerance=1e-6,
    ),
    Change("a parameter that becomes used", Unused, lambda m, _: patch.object(m, "used", True), tolerance=1e-6),
    Change(
        "a parameter added",
        net(lambda m: getattr(m, "gain", 1.0)),
        lambda m, _: done(lambda: m.register_parameter("gain", nn.Parameter(3 * ONES)), lambda: delattr(m, "gain")),
    ),
    Change(
        "a parameter under another name",
        net(lambda m: m.gain if "gain" in m._parameters else m.rate, gain=nn.Parameter(3 * ONES)),
        lambda m, _: done(
            lambda: m._parameters.__setitem__("rate", m._parameters.pop("gain")),
            lambda: m._parameters.__setitem__("gain", m._parameters.pop("rate")),
        ),
    ),
    Change(
        "parameters exchanged",
        lambda: _square(),
        lambda m, _: patch.dict(m[0]._parameters, weight=m[2].weight, bias=m[2].bias),
    ),
    Change("a bias frozen", mlp, lambda m, _: frozen(m[0].bias)),
    Change("a layer frozen", mlp, lambda m, _: frozen(*m[0].parameters())),
    Change("a frozen layer trained", trained_head, lambda m, _: frozen(*m[0].parameters())),
    Change("another layer frozen", trained_head, lambda m, _: frozen(*m.parameters())),
    Change("a frozen parameter, in place", trained_head, lambda m, _: filled(m[0].weight, 0.5)),
    Change("a buffer, in place", Buffered, lambda m, _: filled(m.scale, 3.0)),
    Change("a buffer that is not saved", Buffered, lambda m, _: filled(m.hidden, 3.0)),
    Change("an integer buffer", Buffered, lambda m, _: filled(m.count, 2)),
    Change(
        "a buffer replaced by one of another shape",
        Buffered,
        lambda m, _: attribute(m, "scale", torch.full((1,), 3.0, dtype=DOUBLE)),
    ),
    Change(
        "a buffer replaced by one of another dtype", Buffered, lambda m, _: attribute(m, "scale", torch.full((4,), 3.0))
    ),
    Change("a buffer for None", Buffered, lambda m, _: attribute(m, "none", torch.full((4,), 3.0, dtype=DOUBLE))),
    Change("a buffer that a forward takes a number from", Branching, lambda m, _: filled(m.hidden, 3.0)),
    Change("a buffer that a forward branches on", Branching, lambda m, _: filled(m.count, 1)),
    Change(
        "a parameter that a forward takes a number from",
        net(lambda m: float(m.a.bias.detach()[0]) + 2.0),
        lambda m, _: filled(m.a.bias, 5.0),
    ),
    Change(
        "a parameter that a forward branches on",
        net(lambda m: 3.0 if bool((m.a.bias > 4).any()) else 1.0),
        lambda m, _: filled(m.a.bias, 5.0),
    ),
    Change("a tensor, in place", net(lambda m: m.tensor, tensor=ONES), lambda m, _: filled(m.tensor, 3.0)),
    Change("a tensor, by .data", net(lambda m: m.tensor, tensor=ONES), lambda m, _: by_data(m.tensor, 3.0)),
    Change(
        "a tensor, through NumPy",
        with_array,
        lambda m, _: done(lambda: m.array.fill(3.0), lambda: m.array.fill(1.0)),
        telling=True,
    ),
    Change("a tensor, through a view", net(lambda m: m.tensor, tensor=ONES), lambda m, _: filled(m.tensor[1:3], 5.0)),
    Change("a tensor replaced", net(lambda m: m.tensor, tensor=ONES), lambda m, _: patch.object(m, "tensor", 3 * ONES)),
    Change(
        "a tensor replaced by one of another shape",
        net(lambda m: m.tensor, tensor=ONES),
        lambda m, _: patch.object(m, "tensor", 3 * ONES[:1]),
    ),
    Change(
        "a tensor whose memory is replaced",
        net(lambda m: m.tensor, tensor=ONES),
        lambda m, _: memory(m.tensor, lambda x: 3 * x),
    ),
    Change(
        "a tensor's dtype",
        net(lambda m: 3.0 if m.tensor.dtype == DOUBLE else 1.0, tensor=torch.ones(1)),
        lambda m, _: patch.object(m, "tensor", torch.ones(1, dtype=DOUBLE)),
    ),
    Change("a tensor in a list", net(lambda m: m.tensors[0], tensors=[ONES]), lambda m, _: filled(m.tensors[0], 3.0)),
    Change(
        "a tensor in a list replaced",
        net(lambda m: m.tensors[0], tensors=[ONES]),
        lambda m, _: item(m.tensors, 0, 3 * ONES),
    ),
    Change(
        "a tensor in a dict in a tuple",
        net(lambda m: m.known[0]["x"], known=({"x": ONES},)),
        lambda m, _: filled(m.known[0]["x"], 3.0),
    ),
    Change("a tensor in a cell", with_cell, lambda m, _: done(lambda: m.write(3.0), lambda: m.write(1.0))),
    Change("a tensor in a global", net(lambda m: GLOBAL), lambda m, _: filled(GLOBAL, 3.0)),
    Change(
        "a tensor in a global replaced",
        net(lambda m: GLOBAL),
        lambda m, _: patch.object(sys.modules[__name__], "GLOBAL", 3 * ONES),
    ),
    Change("a tensor of a class", net(lambda m: m.tensor, shared={"tensor": ONES}), lambda m, _: filled(m.tensor, 3.0)),
    Change(
        "a tensor that a forward takes a number from",
        net(lambda m: m.tensor.sum().item(), tensor=ONES),
        lambda m, _: filled(m.tensor, 3.0),
    ),
    Change(
        "a tensor of integers that indexes",
        net(lambda m: ONES.cumsum(0)[m.index], index=torch.tensor(0)),
        lambda m, _: filled(m.index, 2),
    ),
    Change(
        "a mask",
        net(lambda m: torch.where(m.mask, 3 * ONES, ONES), mask=torch.zeros(4, dtype=torch.bool)),
        lambda m, _: filled(m.mask, True),
    ),
    Change(
        "a tensor that requires a gradient",
        net(lambda m: m.tensors[0], tensors=[ONES.clone().requires_grad_()]),
        lambda m, _: filled(m.tensors[0], 3.0),
    ),
)


def _faint() -> Unused:
    model = Unused()
    model.influence = 1e-6
    return model


def _square() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).to(DOUBLE)
