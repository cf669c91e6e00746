"""The forms of tensors, which code is made for: shape, strides, dtype, device, whether a gradient is asked for."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, get_autocast_dtype, get_default_dtype, is_autocast_enabled
from torch._C import _len_torch_function_stack

Form = tuple[object, ...]


def forms(tensors: Iterable[Tensor]) -> Form:
    """The form of every tensor."""
    return tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors)


def surroundings(device: str) -> Form:
    """What of a process' state changes what a forward computes: autocast, the default dtype, modes of functions."""
    autocast = get_autocast_dtype(device) if is_autocast_enabled(device) else None
    return autocast, get_default_dtype(), _len_torch_function_stack()


def modes() -> Form:
    """What else does, and `quick_check` asks for by itself: inference, and modes of operations."""
    return torch.is_inference_mode_enabled(), torch._C._len_torch_dispatch_stack()


def quick_check(tensors: Sequence[Tensor]) -> Callable[..., bool] | None:
    """A check by PyTorch's own guards in C++ that tensors have these forms; it may fail where they have, too.

    To be asked while gradients are enabled, else it does not tell `requires_grad`. None where PyTorch has none.
    """
    try:
        from torch._C._dynamo.guards import TensorGuards

        with torch.enable_grad():
            sizes: Any = [list(t.shape) for t in tensors]
            strides: Any = [list(t.stride()) for t in tensors]
            check: Callable[..., bool] = TensorGuards(
                *tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides
            ).check
            return check
    except Exception:  # not public: a release may change it
        return None
