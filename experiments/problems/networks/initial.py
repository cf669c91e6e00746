"""Draw initial weights from the project's random draws, so that they are equal on every torch version and device.

Weights and biases of linear and convolutional layers are drawn by one of SCHEMES:

- `uniform fan-in`: U[−1/√fan_in, 1/√fan_in] for weights and biases, what PyTorch's default initialisation amounts to;
- `truncated normal`: weights N(0, 0.01²) cut off at two standard deviations, biases zero, as in the code released with
  Finn et al. 2017.

Every other parameter stays as its module's constructor set it.
"""

import hashlib
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from experiments.problems.tasks.draws import Floats, raw, uniform

FAN_IN, TRUNCATED = "uniform fan-in v1", "truncated normal v1"
DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SD, CUT = 0.01, 2.0


def initialise(model: nn.Module, seed: int, scheme: str = FAN_IN) -> str:
    """Draw the weights of `model` in place; return the SHA-256 of the draws and of the parameters that keep theirs."""
    digest = hashlib.sha256(scheme.encode())
    drawn: set[int] = set()
    with torch.no_grad():
        for layer in (m for m in model.modules() if isinstance(m, DRAWN)):
            for p in (layer.weight, layer.bias):
                if p is None or id(p) in drawn:  # no bias, or a tensor tied to one already drawn
                    continue
                draws = raw(scheme, seed, len(drawn), p.numel())
                digest.update(draws.astype("<u8").tobytes())
                p.copy_(torch.from_numpy(SCHEMES[scheme](uniform(draws), layer.weight, p)).reshape(p.shape))
                drawn.add(id(p))
        for p in (p for p in model.parameters() if id(p) not in drawn):
            digest.update(p.detach().double().cpu().numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def _fan_in(draws: Floats, weight: Tensor, p: Tensor) -> Floats:
    return (1 / math.sqrt(weight[0].numel())) * (2 * draws - 1)


def _truncated(draws: Floats, weight: Tensor, p: Tensor) -> Floats:
    if p is not weight:
        return np.zeros_like(draws)
    normal = NormalDist()
    low = normal.cdf(-CUT)
    return SD * np.array([normal.inv_cdf(low + (1 - 2 * low) * u) for u in draws])


SCHEMES: dict[str, Callable[[Floats, Tensor, Tensor], Floats]] = {FAN_IN: _fan_in, TRUNCATED: _truncated}
"""By name, a function from uniforms, a layer's weight and one of its parameters to the values of that parameter."""
