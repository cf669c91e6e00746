"""Adapt the weight of a linear layer without forming it, as θ plus a low-rank update.

The gradient of a linear layer's weight is δᵀh: the inputs h of the layer, times the gradients δ of its outputs. So
after k inner steps

    W_k = W − α DᵀH,   H = [h₀; …; h_{k−1}] (rows, in),   D = [δ₀; …; δ_{k−1}] (rows, out)

and the layer's output is x W_kᵀ = x Wᵀ − α (x Hᵀ) D. Where a task has few points the factors are smaller than the
weight, and all tasks share one large product with W. It is the same function, in exact arithmetic.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from baselines.contract import Params


class Factors(NamedTuple):
    """Hold the factors of a weight's update −α DᵀH, or the rows of one step, h and δ; or their derivatives."""

    H: Tensor  # ([tasks,] rows, in), inputs of the layer
    D: Tensor  # ([tasks,] rows, out), gradients of its outputs

    # -- of all tasks

    def zeros(self, steps: int) -> "Factors":
        """Make zeros with as many rows in all as `steps` steps have."""
        return Factors(*(t.new_zeros(len(t), steps * t.shape[1], t.shape[2]) for t in self))

    def rows(self, rows: slice) -> "Factors":
        """Copy some rows."""
        return Factors(self.H[:, rows].contiguous(), self.D[:, rows].contiguous())

    def write(self, rows: slice, new: "Factors") -> None:
        """Overwrite some rows by new ones, in place."""
        self.H[:, rows], self.D[:, rows] = new

    def clear(self, rows: slice) -> None:
        """Overwrite some rows by zeros, in place."""
        self.H[:, rows] = self.D[:, rows] = 0

    def plus(self, other: "Factors") -> "Factors":
        """Add elementwise, where + would append."""
        return Factors(self.H + other.H, self.D + other.D)


class LowRankLinear(TorchFunctionMode):
    """While active, compute `F.linear` with these weights as adapted by their factors, and keep the layers' inputs.

    weights: W (out, in), shared by all tasks; only of interest by identity.
    factors: one task's updates of them; none before the first inner step.
    probes: zeros (points, out), added to a layer's outputs, so that the gradient with respect to them is δ.
    """

    def __init__(self, weights: Params, factors: Mapping[str, Factors], probes: Params, lr: Tensor) -> None:
        super().__init__()
        self.weights, self.factors, self.probes, self.lr = weights, factors, probes, lr
        self.h: Params = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is not F.linear or len(args) < 2:
            return result
        for name, weight in self.weights.items():
            if args[1] is weight:
                x = args[0].reshape(-1, args[0].shape[-1])  # (points, in)
                self.h[name] = x
                if name in self.factors:  # x W_kᵀ = x Wᵀ − α (x Hᵀ) D
                    H, D = self.factors[name]
                    result = result - self.lr * ((x @ H.T) @ D).reshape(result.shape)
                if name in self.probes:
                    result = result + self.probes[name].reshape(result.shape)
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
