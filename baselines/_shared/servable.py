"""What no implementation in torch can be right for, known before it is asked."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.weight_norm import WeightNorm

from baselines._shared.module_state import stock
from baselines.contract import Spec

NORMED = (WeightNorm, getattr(parametrizations, "_WeightNorm", WeightNorm))  # the second from torch 2.1 on


def refusal(spec: Spec, second_order: bool = False) -> str | None:
    """Why no implementation in torch can serve the model as it is; None if one may."""
    for name, p in spec.model.named_parameters():
        if is_lazy(p):
            return f"{name} has no shape yet: call the model once before"
        if p.is_meta:
            return f"{name} is on the meta device, and has no values"
        if type(p) is not nn.Parameter and type(p) is not Tensor:
            return f"{name} is a {type(p).__name__}, and adapted parameters are plain tensors"
        if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            return f"{name} has a hook, which adapted parameters would not have"
    if stock(spec.model):
        return None
    if getattr(parametrize, "_cache_enabled", 0):
        return "in parametrize.cached() the weights of one φ would stand for another's"
    for module in spec.model.modules():
        if isinstance(module, nn.DataParallel | torch.jit.ScriptModule):
            return f"{type(module).__name__} is no function of the parameters that it shows"
        hooks = (module, *module._forward_pre_hooks.values())
        if second_order and any(isinstance(part, NORMED) for part in hooks) and _wrong():
            return "torch's second derivatives of weight_norm are wrong"
    return None


@cache
def _wrong() -> bool:
    """Whether this torch takes the norms for constants in second derivatives of weight_norm (2.13 does)."""
    with torch.inference_mode(False), torch.enable_grad():
        v, g = (torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True) for _ in range(2))
        return not torch.autograd.gradgradcheck(lambda v, g: torch._weight_norm(v, g, 0), (v, g), raise_exception=False)
