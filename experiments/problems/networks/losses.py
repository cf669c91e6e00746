"""Define the losses that a network description can name: means over points of a function of prediction and target."""

import torch.nn.functional as F
from torch import Tensor

from baselines.contract import Loss


def pseudo_huber(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the mean of √(1 + d²) − 1, d = prediction − target; its curvature depends on the target, unlike d²'s."""
    difference = prediction - target
    return ((1 + difference * difference).sqrt() - 1).mean()


LOSSES: dict[str, Loss] = {
    "squared error": F.mse_loss,
    "pseudo-huber": pseudo_huber,
    "cross-entropy": F.cross_entropy,  # with one-hot targets
}
