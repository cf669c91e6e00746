"""Build the networks that every implementation adapts, and draw their initial weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from experiments.problems.networks.cnn import cnn
from experiments.problems.networks.mlp import mlp

TRAITS = ("loss", "tied", "frozen", "unused")


def build(description: Mapping[str, Any]) -> nn.Sequential:
    """Build the torch module of a network description; `experiments.judging.oracles.described` says what is in one."""
    layers = {key: value for key, value in description.items() if key not in TRAITS}
    model = cnn(**layers) if "blocks" in layers else mlp(**layers)
    for name, shape in description.get("unused", {}).items():
        model.register_parameter(name, nn.Parameter(torch.zeros(*shape)))
    for name, shared in description.get("tied", {}).items():
        layer, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(layer), leaf, model.get_parameter(shared))
    for name in description.get("frozen", ()):
        model.get_parameter(name).requires_grad_(False)
    return model
