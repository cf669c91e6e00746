"""Networks as they are written by hand: how layers are put together, and what else a forward does."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from tests.zoo.records import DOUBLE, Build, Net

Forward = Callable[[Any, Tensor], Tensor]


def written(forward: Forward, **parts: Callable[[], Any]) -> Build:
    """Build a network of two linear layers `a` and `b` and of `parts`, whose class has this forward."""

    def build() -> nn.Module:
        model = type("Written", (Net,), {"forward": forward})()
        for name, make in parts.items():
            setattr(model, name, make())
        return model.to(DOUBLE)  # type: ignore[no-any-return]

    return build


def square() -> nn.Linear:
    """A layer of four units."""
    return nn.Linear(4, 4)


def parameter(*shape: int) -> Callable[[], nn.Parameter]:
    """A parameter of this shape."""
    return lambda: nn.Parameter(torch.randn(shape, dtype=DOUBLE))


def between(function: Callable[[Any, Tensor], Tensor], **parts: Callable[[], Any]) -> Build:
    """Build a network with `function(model, h)` between its two layers."""
    return written(lambda m, x: m.b(function(m, m.a(x))), **parts)


def residual(m: Any, h: Tensor) -> Tensor:
    """Two residual blocks."""
    h = h + torch.tanh(m.c(h))
    return h + torch.tanh(m.d(h))


def dense(m: Any, x: Tensor) -> Tensor:
    """Each layer sees all before it."""
    seen = [x]
    for layer in m.layers:
        seen.append(torch.tanh(layer(torch.cat(seen, 1))))
    return m.head(torch.cat(seen, 1))  # type: ignore[no-any-return]


def mixture(m: Any, h: Tensor) -> Tensor:
    """Experts, weighed by a gate."""
    outputs = torch.stack([expert(h) for expert in m.experts], 1)  # (points, experts, 4)
    return torch.einsum("pe,pef->pf", F.softmax(m.gate(h), 1), torch.tanh(outputs))


def top_mixture(m: Any, h: Tensor) -> Tensor:
    """The two best experts."""
    weights, places = m.gate(h).topk(2, 1)
    outputs = torch.stack([expert(h) for expert in m.experts], 1)
    chosen = outputs.gather(1, places[..., None].expand(-1, -1, 4))
    return (torch.softmax(weights, 1)[..., None] * chosen).sum(1)


def film(m: Any, h: Tensor) -> Tensor:
    """Features scaled and shifted by functions of the mean."""
    scale, shift = m.condition(h.mean(0, keepdim=True)).chunk(2, 1)
    return torch.tanh(h * (1 + scale) + shift)


def hyper(m: Any, h: Tensor) -> Tensor:
    """A layer whose weight another one makes."""
    return F.linear(torch.tanh(h), m.maker(m.code).view(4, 4))


def attend(m: Any, h: Tensor) -> Tensor:
    """Attention among points by products."""
    q, k, v = m.qkv(h).chunk(3, 1)
    return torch.softmax(q @ k.mT / 2, -1) @ v  # type: ignore[no-any-return]


def attend_fused(m: Any, h: Tensor) -> Tensor:
    """Attention among points by torch's function."""
    q, k, v = m.qkv(h)[None, None].chunk(3, -1)
    return F.scaled_dot_product_attention(q, k, v)[0, 0]


def equilibrium(m: Any, h: Tensor) -> Tensor:
    """A fixed point, by ten iterations."""
    z = torch.zeros_like(h)
    for _ in range(10):
        z = torch.tanh(0.5 * m.c(z) + h)
    return z


def branching(m: Any, h: Tensor) -> Tensor:
    """A branch by the data."""
    return torch.tanh(h) if h.sum() > 0 else torch.sin(3 * h)


def looping(m: Any, h: Tensor) -> Tensor:
    """A loop whose length is the data's."""
    for _ in range(1 + int(h.detach().abs().max().item())):
        h = torch.tanh(m.c(h))
    return h


def straight(m: Any, h: Tensor) -> Tensor:
    """Rounded, but not for the gradient."""
    return torch.tanh(h + (h.round() - h).detach())


def straight_by_data(m: Any, h: Tensor) -> Tensor:
    """Rounded, by .data."""
    return torch.tanh(h + (h.round() - h).data)


def written_in_place(m: Any, h: Tensor) -> Tensor:
    """Operations in place on values within."""
    h = torch.tanh(h)
    y = h * 2
    y[:, 0] = h[:, 1] ** 2
    y.mul_(h).add_(1)
    y[:, 2:] += h[:, :2]
    return y


def cached(m: Any, h: Tensor) -> Tensor:
    """A table that is kept from call to call."""
    if m.table is None or len(m.table) != len(h):
        m.table = torch.arange(len(h), dtype=h.dtype)[:, None].cos()
    return torch.tanh(h) * m.table  # type: ignore[no-any-return]


def keeping(m: Any, h: Tensor) -> Tensor:
    """Activations that are kept, with their graph, and looked at in the same call."""
    m.kept = torch.tanh(h)
    return m.kept * m.kept.mean()  # type: ignore[no-any-return]


def lora(m: Any, h: Tensor) -> Tensor:
    """A frozen weight and a trained correction of low rank."""
    return torch.tanh(m.c(h) + h @ m.down.T @ m.up.T)


def standardised(m: Any, h: Tensor) -> Tensor:
    """A weight with mean 0 and deviation 1."""
    weight = m.c.weight
    return F.linear(h, (weight - weight.mean(1, keepdim=True)) / (weight.std(1, keepdim=True) + 1e-5), m.c.bias)


def low(m: Any, h: Tensor) -> Tensor:
    """In float32 within."""
    return torch.tanh(h.float() * 1.5).double()


def counting(m: Any, h: Tensor) -> Tensor:
    """A buffer that a forward updates, and reads."""
    m.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return h - m.mean  # type: ignore[no-any-return]


def rebound(m: Any, h: Tensor) -> Tensor:
    """A buffer that a forward replaces."""
    m.mean = 0.9 * m.mean + 0.1 * h.detach().mean(0)
    return h - m.mean  # type: ignore[no-any-return]


class Square(torch.autograd.Function):
    """A function that can be differentiated twice."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * grad  # type: ignore[no-any-return]


class OldSquare(torch.autograd.Function):
    """A function as it was written before torch.func."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * grad  # type: ignore[no-any-return]


class Reversal(torch.autograd.Function):
    """Gradient reversal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return -grad


def checkpointed(m: Any, h: Tensor) -> Tensor:
    """Activations that are computed again."""
    return checkpoint(lambda h: torch.tanh(m.c(h)), h, use_reentrant=False)  # type: ignore[no-any-return]


def plain(m: Any, h: Tensor) -> Tensor:
    """The same, which keeps them."""
    return torch.tanh(m.c(h))


def two_checkpoints(m: Any, h: Tensor) -> Tensor:
    """Segments of a Sequential."""
    return checkpoint_sequential(m.layers, 2, h, use_reentrant=False)  # type: ignore[no-any-return]


def layers() -> nn.Sequential:
    """Four layers."""
    return nn.Sequential(square(), nn.Tanh(), square(), nn.Tanh())


def frozen() -> nn.Linear:
    """A layer that is not trained."""
    return square().requires_grad_(False)  # type: ignore[return-value]


def squared(h: Tensor) -> Tensor:
    """By a custom function."""
    return Square.apply(h)  # type: ignore[no-any-return,no-untyped-call]


def squared_of_old(h: Tensor) -> Tensor:
    """By a custom function of the old kind."""
    return OldSquare.apply(h)  # type: ignore[no-any-return,no-untyped-call]


def reversed_gradient(h: Tensor) -> Tensor:
    """The same, with another gradient."""
    return Reversal.apply(h)  # type: ignore[no-any-return,no-untyped-call]
