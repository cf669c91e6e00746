"""Linear layers whose adapted weight is never formed.

The gradient of a linear layer's weight is δᵀh: the inputs h it saw, times the gradients δ of its outputs. So after k
inner steps

    W_k = W − α DᵀH,   H = [h₀; …; h_{k−1}] (rows, in),   D = [δ₀; …; δ_{k−1}] (rows, out)

and a layer's output is x W_kᵀ = x Wᵀ − α (x Hᵀ) D. Where a task has few points the factors are smaller than the weight,
and all tasks share the one large product with W. It is the same function, in exact arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass
class Factors:
    """A linear layer's weight W (out, in), shared by all tasks, and one task's factors.

    H (rows, in) and D (rows, out), or None before the first step; `probe` (points, out) is added to the outputs, so
    that the gradient with respect to it is δ.
    """

    weight: Tensor
    H: Tensor | None
    D: Tensor | None
    probe: Tensor | None


class FactoredLinear(TorchFunctionMode):
    """While active, `F.linear` with one of these weights uses its factors; `inputs` keeps what the layers saw."""

    def __init__(self, factors: Mapping[str, Factors], lr: Tensor) -> None:
        super().__init__()
        self.factors, self.lr = factors, lr
        self.inputs: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or len(args) < 2:
            return result
        for name, factors in self.factors.items():
            if args[1] is factors.weight:
                x = args[0].reshape(-1, args[0].shape[-1])  # (points, in)
                self.inputs[name] = x
                if factors.H is not None and factors.D is not None:
                    result = result - self.lr * ((x @ factors.H.T) @ factors.D).reshape(result.shape)
                if factors.probe is not None:
                    result = result + factors.probe.reshape(result.shape)
        return result


class Points(TorchFunctionMode):
    """While active, notes how many rows go through `F.linear` with each of these weights, in its own dtype."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights
        self.rows: dict[str, int] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.linear and len(args) > 1 and args[0].dtype == args[1].dtype == result.dtype:
            names = [name for name, weight in self.weights.items() if args[1] is weight]
            self.rows |= {name: args[0].numel() // args[0].shape[-1] for name in names}
        return result


def smaller(weights: Mapping[str, Tensor], rows: Mapping[str, int], steps: int) -> dict[str, int]:
    """The weights whose factors after `steps` inner steps are smaller than they are, with their rows of points."""
    return {
        name: points
        for name, points in rows.items()
        if steps and steps * points * sum(weights[name].shape) < weights[name].numel()
    }


def probe(points: int, weight: Tensor) -> Tensor:
    """Zeros to be added to the layer's outputs, (points, out)."""
    return torch.zeros(points, weight.shape[0], dtype=weight.dtype, device=weight.device)
