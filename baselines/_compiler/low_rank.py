"""Adapt the weight of a linear layer without forming it, as θ plus a low-rank update.

The gradient of a linear layer's weight is δᵀh: the inputs h of the layer, times the gradients δ of its outputs. So
after k inner steps

    W_k = W − α DᵀH,   H = [h₀; …; h_{k−1}] (rows, in),   D = [δ₀; …; δ_{k−1}] (rows, out)

and the layer's output is x W_kᵀ = x Wᵀ − α (x Hᵀ) D. Where a task has few points the factors are smaller than the
weight, and all tasks share one large product with W. It is the same function, in exact arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from baselines.contract import Params


@dataclass
class Factors:
    """Hold a linear layer's weight W (out, in), shared by all tasks, and one task's update of it.

    H (rows, in) and D (rows, out) are None before the first inner step. The zeros `probe` (points, out) are added to
    the layer's outputs, so that the gradient with respect to them is δ; None where δ is not asked for.
    """

    weight: Tensor
    H: Tensor | None
    D: Tensor | None
    probe: Tensor | None


class LowRankLinear(TorchFunctionMode):
    """While active, compute `F.linear` with these weights by their factors, and keep the layers' inputs h."""

    def __init__(self, factors: Mapping[str, Factors], lr: Tensor) -> None:
        super().__init__()
        self.factors, self.lr = factors, lr
        self.h: Params = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or len(args) < 2:
            return result
        for name, factors in self.factors.items():
            if args[1] is factors.weight:
                x = args[0].reshape(-1, args[0].shape[-1])  # (points, in)
                self.h[name] = x
                if factors.H is not None and factors.D is not None:  # x W_kᵀ = x Wᵀ − α (x Hᵀ) D
                    result = result - self.lr * ((x @ factors.H.T) @ factors.D).reshape(result.shape)
                if factors.probe is not None:
                    result = result + factors.probe.reshape(result.shape)
        return result


def smaller_as_factors(weights: Params, points: Mapping[str, int], steps: int) -> dict[str, int]:
    """Choose the weights whose factors after `steps` inner steps have fewer elements than they have.

    points: how many points go through each linear layer in one step. Returns those of the chosen weights.
    """
    return {
        name: count
        for name, count in points.items()
        if name in weights and steps and steps * count * sum(weights[name].shape) < weights[name].numel()
    }
