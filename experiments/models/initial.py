"""Initial weights from the project's own draws, so that they are equal on every torch version and device.

Linear and convolutional layers: U[−1/√fan_in, 1/√fan_in] for weights and biases, which is what PyTorch's default
initialisation amounts to. Every other parameter stays as its module's constructor set it.
"""

import hashlib
import math

import torch
from torch import nn

from experiments.tasks.draws import raw, uniform

NAME = "uniform fan-in v1"
DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def initialise(model: nn.Module, seed: int) -> str:
    """Set the weights of `model` in place; returns the SHA-256 of the draws and of what was not drawn."""
    digest = hashlib.sha256(NAME.encode())
    drawn: set[int] = set()
    with torch.no_grad():
        for layer in (m for m in model.modules() if isinstance(m, DRAWN)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for p in (layer.weight, layer.bias):
                if p is None or id(p) in drawn:  # no bias, or a tensor tied to one already drawn
                    continue
                draws = raw(NAME, seed, len(drawn), p.numel())
                digest.update(draws.astype("<u8").tobytes())
                p.copy_(torch.from_numpy(bound * (2 * uniform(draws) - 1)).reshape(p.shape))
                drawn.add(id(p))
        for p in (p for p in model.parameters() if id(p) not in drawn):
            digest.update(p.detach().double().cpu().numpy().astype("<f8").tobytes())
    return digest.hexdigest()
