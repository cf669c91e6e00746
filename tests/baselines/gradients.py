"""What several tests in this folder share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import baselines
from baselines.contract import Baseline, InnerLoop, Spec, TaskBatch
from experiments.judging.verify import error

DOUBLE = torch.float64


def spec(model: nn.Module, steps: int, dtype: torch.dtype = DOUBLE) -> Spec:
    return Spec(model.to(dtype), F.mse_loss, InnerLoop(0.1, steps), torch.device("cpu"), dtype)


def build(name: str, model: nn.Module, steps: int = 2, dtype: torch.dtype = DOUBLE) -> Baseline:
    return baselines.load(baselines.find(name))(spec(model, steps, dtype))


def points(
    tasks: int, support: int, query: int, features: int = 3, dtype: torch.dtype = DOUBLE, seed: int = 0
) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    sizes = (support, support, query, query)
    return TaskBatch(*(torch.randn(tasks, n, features, generator=generator, dtype=DOUBLE).to(dtype) for n in sizes))


def gradient(baseline: Baseline, batch: TaskBatch) -> dict[str, Tensor]:
    return baseline.to_torch(baseline.meta_gradient(baseline.prepare(batch))).grads


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return error({n: g.numpy() for n, g in found.items()}, {n: g.numpy() for n, g in expected.items()})
