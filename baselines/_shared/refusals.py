"""What torch.func leaves out of its derivatives without a word, and how it is refused instead."""

from collections.abc import Callable
from inspect import getattr_static
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

DATA, GRAPH, ASKED = (getattr_static(torch.Tensor, name) for name in ("data", "grad_fn", "requires_grad"))
REFUSED: dict[Any, str] = {
    DATA.__get__: "the model reads .data, which torch.func cuts off for one derivative only; use .detach()",
    DATA.__set__: "the model sets .data, which torch.func does not differentiate",
    torch.Tensor.register_hook: "the model hooks a tensor, and torch.func never calls such a hook",
    GRAPH.__get__: "the model reads .grad_fn, as for a hook, and torch.func never calls one",
}


class Refusing(TorchFunctionMode):
    """While active, what is `refused` raises RuntimeError.

    Reading `.data` cuts off the innermost derivative only, where `.detach()` cuts off all; hooks are never called.
    """

    refused: ClassVar[dict[Any, str]] = REFUSED

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in self.refused:
            raise RuntimeError(self.refused[func])
        return func(*args, **kwargs) if kwargs else func(*args)


class RefusingToTell(Refusing):
    """The same for `vmap` inside `grad`, where no tensor says that it requires a gradient."""

    refused = REFUSED | {ASKED.__get__: "the model asks for .requires_grad, which is False in a vmap inside of a grad"}
