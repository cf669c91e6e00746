"""Build the networks and losses that calls of a user's function are given; a standalone file that the worker loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def network(layers: Sequence[int], activation: str, normalised: bool = False) -> nn.Module:
    """Build a multilayer perceptron with the parameter names of `experiments.judging.oracles`.

    layers: (inputs, width, …, outputs). activation: "tanh" or "relu". normalised: batch normalisation by the points at
    hand, without running statistics, after every hidden layer.
    """
    model = nn.Sequential()
    for i in range(1, len(layers) - 1):
        model.add_module(f"hidden{i}", nn.Linear(layers[i - 1], layers[i]))
        if normalised:
            model.add_module(f"norm{i}", nn.BatchNorm1d(layers[i], track_running_stats=False))
        model.add_module(f"{activation}{i}", nn.Tanh() if activation == "tanh" else nn.ReLU())
    model.add_module("out", nn.Linear(layers[-2], layers[-1]))
    return model


def loss_function(kind: str, scale: float) -> Loss:
    """Return a loss, times `scale`: the mean over points of √(1 + d²) − 1 ("pseudo-huber") or of d² ("squared error").

    d = prediction − target.
    """

    def pseudo_huber(prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        return scale * (torch.sqrt(1 + difference * difference) - 1).mean()

    def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        return scale * (difference * difference).mean()

    return {"pseudo-huber": pseudo_huber, "squared error": squared_error}[kind]
