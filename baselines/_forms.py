"""The forms of tensors, which code is made for: shape, strides, dtype, device, whether a gradient is asked for."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Form = tuple[object, ...]


def forms(tensors: Iterable[Tensor]) -> Form:
    """The form of every tensor."""
    return tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors)


def surroundings(device: str) -> Form:
    """What of a process' state changes what a forward computes: autocast, the default dtype, modes of tensors."""
    modes = torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
    autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device), torch.is_autocast_cache_enabled()
    return (*autocast, torch.get_default_dtype(), torch.is_inference_mode_enabled(), *modes)


def quick_check(tensors: Sequence[Tensor]) -> Callable[..., bool]:
    """A check by PyTorch's own guards in C++ that tensors have these forms; it may fail where they have, too.

    They tell `requires_grad` only while gradients are enabled. Where PyTorch has no such guards nothing passes.
    """
    try:
        from torch._C._dynamo.guards import TensorGuards

        with torch.enable_grad():
            sizes: Any = [list(t.shape) for t in tensors]
            strides: Any = [list(t.stride()) for t in tensors]
            check = TensorGuards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
    except Exception:  # not public: a release may change it
        return lambda *now: False
    return lambda *now: torch.is_grad_enabled() and check(*now)
