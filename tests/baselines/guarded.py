"""What several tests in this folder share."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from baselines._compiler.base import CompiledSweep
from tests.baselines.gradients import build

SCALES = {"one": 1.0}


class Model(nn.Module):
    """Reads much, and sets what nothing reads."""

    kind = 1.0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 3)
        self.settings = SimpleNamespace(scale=1.0, steps=[1.0, 2.0])
        self.epoch, self.history, self.last = 0, [], torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.layer(x)
        return self.head(torch.tanh(self.last)) * self.settings.scale * self.settings.steps[1] * self.kind * scale()


def scale() -> float:
    return SCALES["one"]


def built(model: nn.Module, name: str = "compiled", steps: int = 1) -> CompiledSweep:
    implementation = build(name, model, steps)
    assert isinstance(implementation, CompiledSweep)
    return implementation
