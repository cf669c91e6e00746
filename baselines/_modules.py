"""What a module is besides its tensors: attributes that its forward reads and sets."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

PLAIN = (bool, int, float, str)

_turn = threading.Condition()
_holders: dict[int, int] = {}
"""The id of every module that is in use → the thread that uses it."""


def signature(model: nn.Module, batch: Sequence[Tensor]) -> tuple[object, ...]:
    """What a trace of the model holds for: the form of every tensor, and the plain attributes of every module.

    Those are its type, its mode, a rate of dropout and the like. What it keeps in other objects is not in it.
    """
    tensors = (*batch, *model.parameters(), *model.buffers())
    forms = tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors)
    modules = tuple((type(m), *(v for v in vars(m).values() if type(v) in PLAIN)) for m in model.modules())
    return forms, modules, torch.is_autocast_enabled(batch[0].device.type)


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread has the model or any of its modules, and keep them from others meanwhile.

    While tensors stand for a module's own, whoever else computes with it would get theirs. A thread may enter again
    what it has. Models that share a layer wait for each other; others do not.
    """
    with _holding({id(model)}), _holding({id(module) for module in model.modules()}):
        yield


@contextmanager
def _holding(modules: set[int]) -> Iterator[None]:
    thread = threading.get_ident()
    with _turn:
        _turn.wait_for(lambda: all(_holders.get(module, thread) == thread for module in modules))
        new = modules - _holders.keys()
        _holders.update(dict.fromkeys(new, thread))
    try:
        yield
    finally:
        with _turn:
            for module in new:
                del _holders[module]
            _turn.notify_all()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Undo what a forward sets on its modules: while tensors stand for others, it must not keep any."""
    before = [(m, dict(vars(m))) for m in model.modules()]
    try:
        yield
    finally:
        for m, attributes in before:
            vars(m).clear()
            vars(m).update(attributes)


class RefusingData(TorchFunctionMode):
    """While active, reading `.data` of a tensor raises RuntimeError.

    Under torch.func it cuts the innermost derivative only, where `.detach()` cuts all: second derivatives would be
    wrong without a word.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__self__", None) is torch.Tensor.data:
            raise RuntimeError(
                "the model reads .data, which torch.func cuts off for one derivative only; use .detach()"
            )
        return func(*args, **(kwargs or {}))
