"""The losses that a network's description can ask for: functions of prediction and target, the mean over points."""

import torch.nn.functional as F
from torch import Tensor

from baselines.contract import Loss


def pseudo_huber(prediction: Tensor, target: Tensor) -> Tensor:
    """√(1 + d²) − 1 of the difference d; unlike a squared error, its curvature depends on the target."""
    difference = prediction - target
    return ((1 + difference * difference).sqrt() - 1).mean()


LOSSES: dict[str, Loss] = {
    "squared error": F.mse_loss,
    "pseudo-huber": pseudo_huber,
    "cross-entropy": F.cross_entropy,  # with one-hot targets
}
