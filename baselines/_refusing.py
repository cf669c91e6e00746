"""What torch.func leaves out of its derivatives without a word, and how it is refused instead."""

from collections.abc import Callable
from inspect import getattr_static
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DATA, GRAPH = getattr_static(torch.Tensor, "data"), getattr_static(torch.Tensor, "grad_fn")
REFUSED: dict[Any, str] = {
    DATA.__get__: "the model reads .data, which torch.func cuts off for one derivative only; use .detach()",
    DATA.__set__: "the model sets .data, which torch.func does not differentiate",
    torch.Tensor.register_hook: "the model hooks a tensor, and torch.func never calls such a hook",
    GRAPH.__get__: "the model reads .grad_fn, as for a hook, and torch.func never calls one",
}


class Refusing(TorchFunctionMode):
    """While active, what is in `REFUSED` raises RuntimeError.

    Reading `.data` cuts off the innermost derivative only, where `.detach()` cuts off all; hooks are never called.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in REFUSED:
            raise RuntimeError(REFUSED[func])
        return func(*args, **kwargs) if kwargs else func(*args)
