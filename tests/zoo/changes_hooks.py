"""Hooks: of modules, of all modules, of tensors, and what they read."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_all

from tests.zoo.changes_modules import cnn
from tests.zoo.records import Change, Net, done, images, item, mlp


class Hooked(Net):
    """A network that hooks its hidden tensor where it is told to."""

    def __init__(self, function: Callable[[Tensor], Tensor], active: bool = False) -> None:
        super().__init__()
        self.active, self.function = active, function

    def forward(self, x: Tensor) -> Tensor:
        """As Net's."""
        h = self.a(x)
        if self.active and h.requires_grad:
            h.register_hook(self.function)
        return self.b(torch.tanh(h))  # type: ignore[no-any-return]


def hook(register: Callable[..., Any], function: Callable[..., Any], **options: Any) -> AbstractContextManager[None]:
    """A hook that is there, and then removed."""
    handles: list[Any] = []
    return done(lambda: handles.append(register(function, **options)), lambda: handles.pop().remove())


def hooked() -> Any:
    """A network that was built with a hook, whose factor lies in a list."""
    model = mlp()
    factors = [1.0]
    model[0].register_forward_hook(lambda layer, x, y: factors[0] * y)
    model.factors = factors
    return model


def hooked_backward() -> Any:
    """A network that was built with a backward hook, whose factor lies in a list."""
    model = mlp()
    factors = [1.0]
    model[0].register_full_backward_hook(lambda layer, x, y: None)
    model[1].register_full_backward_hook(lambda layer, x, y: (factors[0] * x[0],))
    model.factors = factors
    return model


def removable() -> Any:
    """A network with a hook that can be removed."""
    model = mlp()
    model.handle = model[0].register_forward_hook(triple)
    return model


def triple(layer: nn.Module, x: Any, y: Tensor) -> Tensor:
    """A forward hook."""
    return 3 * y


def widen(layer: nn.Module, x: tuple[Tensor]) -> tuple[Tensor]:
    """A hook before a forward."""
    return (3 * x[0],)


def in_place(layer: nn.Module, x: Any, y: Tensor) -> None:
    """A forward hook that changes the output in place."""
    y.mul_(3)


def reverse(grad: Tensor) -> Tensor:
    """Gradient reversal."""
    return -grad


def clamp(grad: Tensor) -> Tensor:
    """A hook that is no linear function of the gradient."""
    return grad.clamp(-0.01, 0.01)


class Spy:
    """A hook that is an object."""

    def __init__(self) -> None:
        self.factor = 1.0

    def __call__(self, layer: nn.Module, x: Any, y: Tensor) -> Tensor:
        return self.factor * y


def spied() -> Any:
    """A network with an object for a hook."""
    model = mlp()
    model.spy = Spy()
    model[1].register_forward_hook(model.spy)
    return model


CHANGES = (
    Change("a forward hook", mlp, lambda m, _: hook(m[0].register_forward_hook, triple), telling=True),
    Change(
        "a forward hook on a network that JAX serves",
        cnn,
        lambda m, _: hook(m[1].register_forward_hook, triple),
        batch=images,
    ),
    Change("a forward hook on the whole", mlp, lambda m, _: hook(m.register_forward_hook, triple)),
    Change("a forward hook that changes in place", mlp, lambda m, _: hook(m[0].register_forward_hook, in_place)),
    Change(
        "a forward hook with keywords",
        mlp,
        lambda m, _: hook(m[0].register_forward_hook, lambda layer, x, options, y: 3 * y, with_kwargs=True),
    ),
    Change(
        "a forward hook that is always called",
        mlp,
        lambda m, _: hook(m[0].register_forward_hook, triple, always_call=True),
    ),
    Change("a hook before a forward", mlp, lambda m, _: hook(m[0].register_forward_pre_hook, widen)),
    Change(
        "a hook before a forward, with keywords",
        mlp,
        lambda m, _: hook(
            m[0].register_forward_pre_hook, lambda layer, x, options: ((3 * x[0],), options), with_kwargs=True
        ),
    ),
    Change(
        "a forward hook of all modules",
        mlp,
        lambda m, _: hook(
            of_all.register_module_forward_hook, lambda layer, x, y: 3 * y if isinstance(layer, nn.Tanh) else None
        ),
    ),
    Change(
        "a hook before all forwards",
        mlp,
        lambda m, _: hook(
            of_all.register_module_forward_pre_hook,
            lambda layer, x: (3 * x[0],) if isinstance(layer, nn.Tanh) else None,
        ),
    ),
    Change(
        "a hook removed",
        removable,
        lambda m, _: done(m.handle.remove, lambda: setattr(m, "handle", m[0].register_forward_hook(triple))),
    ),
    Change("what a hook reads from a cell", hooked, lambda m, _: item(m.factors, 0, 3.0)),
    Change(
        "an attribute of a hook",
        spied,
        lambda m, _: done(lambda: setattr(m.spy, "factor", 3.0), lambda: setattr(m.spy, "factor", 1.0)),
    ),
    Change(
        "two hooks in another order",
        lambda: _two_hooks(),
        lambda m, _: done(
            lambda: m[0]._forward_hooks.move_to_end(m.first), lambda: m[0]._forward_hooks.move_to_end(m.second)
        ),
    ),
    Change(
        "a full backward hook",
        mlp,
        lambda m, _: hook(m[1].register_full_backward_hook, lambda layer, x, y: (3 * x[0],)),
    ),
    Change(
        "a hook before a backward",
        mlp,
        lambda m, _: hook(m[1].register_full_backward_pre_hook, lambda layer, y: (3 * y[0],)),
    ),
    Change(
        "a full backward hook of all modules",
        mlp,
        lambda m, _: hook(
            of_all.register_module_full_backward_hook,
            lambda layer, x, y: (3 * x[0],) if isinstance(layer, nn.Tanh) else None,
        ),
    ),
    Change("what a backward hook reads from a cell", hooked_backward, lambda m, _: item(m.factors, 0, 3.0)),
    Change(
        "a hook of a tensor that reverses gradients",
        lambda: Hooked(reverse),
        lambda m, _: done(lambda: setattr(m, "active", True), lambda: setattr(m, "active", False)),
        telling=True,
    ),
    Change(
        "a hook of a tensor replaced",
        lambda: Hooked(reverse, active=True),
        lambda m, _: done(lambda: setattr(m, "function", lambda g: 3 * g), lambda: setattr(m, "function", reverse)),
    ),
    Change(
        "a hook of a tensor that clamps gradients",
        lambda: Hooked(clamp),
        lambda m, _: done(lambda: setattr(m, "active", True), lambda: setattr(m, "active", False)),
    ),
    Change("a hook of a parameter", mlp, lambda m, _: hook(m[0].weight.register_hook, lambda g: 3 * g)),
)


def _two_hooks() -> Any:
    model = mlp()
    model.first = model[0].register_forward_hook(triple).id
    model.second = model[0].register_forward_hook(lambda layer, x, y: y + 1).id
    return model
