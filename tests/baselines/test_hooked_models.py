"""Hooks, saved tensors and activation checkpointing: each implementation does as torch does, or refuses in one line."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from baselines.contract import TaskBatch
from tests.baselines.changing import (
    ANY,
    CLONING,
    EAGER,
    JAX,
    SECOND_ORDER_LIBRARIES,
    VMAPPED,
    Net,
    batch,
    build,
    call,
    plain,
    right,
    sequential,
    served,
    truth,
)

pytestmark = pytest.mark.slow


def hooked(register: Callable[[nn.Sequential], object]) -> nn.Sequential:
    model = sequential()
    register(model)
    return model


HOOKED: dict[str, tuple[Callable[[nn.Sequential], object], set[str]]] = {
    "forward": (lambda m: m[0].register_forward_hook(lambda module, x, y: 3 * y), {"higher"}),
    "forward of all": (lambda m: m.register_forward_hook(lambda module, x, y: 3 * y), {"higher"}),
    "before forward": (lambda m: m[2].register_forward_pre_hook(lambda module, x: (3 * x[0],)), {"higher"}),
    "backward": (
        lambda m: m[1].register_full_backward_hook(lambda module, gx, gy: (gx[0] * 1.0,)),
        {"higher", *VMAPPED},
    ),
    "of a parameter": (lambda m: m[0].weight.register_hook(lambda g: -g), {*EAGER}),
    "after accumulation": (lambda m: m[0].weight.register_post_accumulate_grad_hook(lambda p: None), {*EAGER}),
    "forward of one instance": (lambda m: setattr(m[1], "forward", torch.sin), {"higher"}),
}


@pytest.mark.parametrize("name", [*EAGER, *sorted(JAX)])
@pytest.mark.parametrize("kind", HOOKED)
def test_hooks_are_called_or_refused(kind: str, name: str) -> None:
    if kind == "after accumulation" and not hasattr(Tensor, "register_post_accumulate_grad_hook"):
        pytest.skip("torch has such hooks from 2.1 on")
    register, refusing = HOOKED[kind]
    refused = {*refusing, "notebook", *JAX} | ({"higher-first-order"} if "higher" in refusing else set())
    for before in (True, False):
        model = hooked(register) if before else sequential()
        built = build(name, model)
        if not before:
            if name not in JAX:
                call(built, batch())
            register(model)
        result = served(built, batch(1))
        if name in refused:
            assert isinstance(result, str)
            assert (name in VMAPPED and kind == "backward") or built.unavailable(built.spec)
        else:
            assert right(name, result, truth(name, hooked(register), batch(1)))


@pytest.mark.parametrize("name", [*EAGER, "jax"])
def test_hooks_on_all_modules_of_the_process_are_called_or_refused(name: str) -> None:
    built = build(name, sequential())
    handle = nn.modules.module.register_module_forward_hook(lambda module, x, y: 1.1 * y)
    try:
        result, expected = served(built, batch(1)), truth(name, sequential(), batch(1))
    finally:
        handle.remove()
    assert right(name, result, expected) == (name not in {"notebook", "jax", *CLONING})


class Reversal(nn.Module):
    """Hooks a tensor in its forward: the gradient is reversed, cut, or scaled by a weight of the module."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.f = nn.Linear(2, 3).double(), nn.Linear(3, 1).double(), f

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if self.f and h.requires_grad:
            h.register_hook(lambda g: self.f(self.b.weight, g))
        return self.b(torch.tanh(h))


def by_hand(computes: str, model: Reversal, points: TaskBatch, steps: int) -> dict[str, Tensor]:
    """The definition, in functions of tensors; hooks are set where `Reversal` sets them."""
    theta = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    total = {n: torch.zeros_like(p) for n, p in theta.items()}

    def loss(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        h = F.linear(x, w["a.weight"], w["a.bias"])
        if model.f:
            h.register_hook(partial(model.f, w["b.weight"]))
        return F.mse_loss(F.linear(torch.tanh(h), w["b.weight"], w["b.bias"]), y)

    for support_x, support_y, query_x, query_y in zip(*points, strict=True):
        phi = theta
        for _ in range(0 if computes == "pretraining" else steps):
            grads = torch.autograd.grad(loss(phi, support_x, support_y), [*phi.values()], create_graph=True)
            phi = {n: p - 0.1 * g for (n, p), g in zip(phi.items(), grads, strict=True)}
            if computes != "maml":
                phi = {n: p.detach().requires_grad_() for n, p in phi.items()}
        if computes == "reptile":
            parts = [(theta[n] - p).detach() for n, p in phi.items()]
        elif computes == "pretraining":
            parts = [*torch.autograd.grad(loss(theta, support_x, support_y), [*theta.values()])]
        else:
            by = theta if computes == "maml" else phi
            parts = [*torch.autograd.grad(loss(phi, query_x, query_y), [*by.values()])]
        total = {n: t + part / 3 for (n, t), part in zip(total.items(), parts, strict=True)}
    return total


ON_TENSORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "reversed": lambda weight, g: -g,
    "cut": lambda weight, g: g.clamp(-0.02, 0.02),  # not linear: α v is not cut as v is
    "by a weight": lambda weight, g: g * weight,
}


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("kind", ON_TENSORS)
def test_hooks_on_tensors_are_called_in_every_call_or_refused(kind: str, name: str) -> None:
    model = Reversal(None)
    built = build(name, model)
    expected = by_hand(built.computes, model, batch(1), 2)
    assert right(name, served(built, batch(1)), expected)
    model.f = ON_TENSORS[kind]
    refused = VMAPPED | ({"unrolled", *SECOND_ORDER_LIBRARIES} if kind == "by a weight" else set())
    assert right(name, served(built, batch(1)), by_hand(built.computes, model, batch(1), 2)) == (name not in refused)


def straight_through(net: Net, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.b(torch.tanh(h + (h.round() - h).data))


@pytest.mark.parametrize("name", sorted(VMAPPED))
def test_data_that_is_read_in_a_later_call_is_refused(name: str) -> None:
    model = Net(plain)
    built = build(name, model)
    call(built, batch())
    model.of = straight_through
    result = served(built, batch())
    assert isinstance(result, str) and "reads .data" in result


# Forwards that are run again, or whose tensors are kept elsewhere, for a backward pass


def checkpointed(net: Net, x: Tensor) -> Tensor:
    return checkpoint(lambda h: net.b(torch.tanh(h)), net.a(x), use_reentrant=False)


def reentrant(net: Net, x: Tensor) -> Tensor:
    return checkpoint(lambda h: net.b(torch.tanh(h)), net.a(x), use_reentrant=True)


def checkpointed_function(net: Net, x: Tensor) -> Tensor:
    return checkpoint(lambda h, *w: F.linear(torch.tanh(h), *w), net.a(x), *net.b.parameters(), use_reentrant=False)


def moved(net: Net, x: Tensor) -> Tensor:
    with save_on_cpu():
        return plain(net, x)


def by_form(net: Net, x: Tensor) -> Tensor:
    h = checkpoint(lambda h: torch.tanh(h * (net.b.weight.shape[1] / 3)), net.a(x), use_reentrant=False)
    return net.b(h)


AGAIN = {
    by_form: set[str](),
    checkpointed: {"unrolled", *SECOND_ORDER_LIBRARIES},
    checkpointed_function: set[str](),
    moved: set[str](),
}


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("again", AGAIN)
def test_forwards_that_are_run_again_are_so_at_the_right_parameters_or_refused(
    again: Callable[[Net, Tensor], Tensor], name: str
) -> None:
    model = Net(plain)
    built = build(name, model)
    call(built, batch())
    model.of = again
    refused = AGAIN[again] | VMAPPED
    assert right(name, served(built, batch(1)), truth(name, Net(plain), batch(1))) == (name not in refused)


@pytest.mark.parametrize("name", ["unrolled", "adjoint", "vectorized", "fomaml", "higher", "torchopt"])
def test_reentrant_checkpoints_are_refused(name: str) -> None:
    assert isinstance(served(build(name, Net(reentrant)), batch()), str)


class Backward(torch.autograd.Function):
    """Multiplies by a weight that its backward reads from the module."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, net: Net) -> Tensor:
        ctx.net = net
        return x * net.b.weight.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g * ctx.net.b.weight.detach(), None


@pytest.mark.parametrize("name", ANY)
def test_a_backward_that_reads_the_module_meets_the_adapted_weight_or_is_refused(name: str) -> None:
    def by_function(net: Net, x: Tensor) -> Tensor:
        return net.b(torch.tanh(Backward.apply(net.a(x), net)))  # type: ignore[no-untyped-call]

    def by_product(net: Net, x: Tensor) -> Tensor:
        return net.b(torch.tanh(net.a(x) * net.b.weight.detach()))

    refused = {"unrolled", *SECOND_ORDER_LIBRARIES, *VMAPPED}
    result = served(build(name, Net(by_function)), batch(1))
    assert right(name, result, truth(name, Net(by_product), batch(1))) == (name not in refused)
