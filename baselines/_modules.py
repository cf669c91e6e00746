"""What a module is besides its tensors: attributes that its forward reads and sets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

PLAIN = (bool, int, float, str)


def signature(model: nn.Module, batch: Sequence[Tensor]) -> tuple[object, ...]:
    """What a trace of the model holds for: the form of every tensor, and the plain attributes of every module.

    Those are its type, its mode, a rate of dropout and the like. What it keeps in other objects is not in it.
    """
    tensors = (*batch, *model.parameters(), *model.buffers())
    forms = tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors)
    modules = tuple((type(m), *(v for v in vars(m).values() if type(v) in PLAIN)) for m in model.modules())
    return forms, modules, torch.is_autocast_enabled(batch[0].device.type)


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
