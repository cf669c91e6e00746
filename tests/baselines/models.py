"""What several tests in this folder share."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

import baselines
from baselines.contract import Baseline, InnerLoop, Spec, TaskBatch


def build(name: str, model: nn.Module, steps: int = 1) -> Baseline:
    model = model.double()
    spec = Spec(model, nn.functional.mse_loss, InnerLoop(0.1, steps), torch.device("cpu"), torch.float64)
    implementation = baselines.load(baselines.names()[name])
    assert implementation.unavailable(spec) is None
    return implementation(spec)


def batch(tasks: int = 2, points: int = 4, seed: int = 0) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    return TaskBatch(*(torch.randn(tasks, points, 3, generator=generator, dtype=torch.float64) for _ in range(4)))


def mlp() -> nn.Sequential:
    return nn.Sequential(OrderedDict(hidden=nn.Linear(3, 5), tanh=nn.Tanh(), out=nn.Linear(5, 3)))


class Tied(nn.Module):
    """One tensor used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def frozen() -> nn.Module:
    model = mlp()
    model.hidden.weight.requires_grad_(False)
    return model
