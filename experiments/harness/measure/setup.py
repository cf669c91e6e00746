"""An implementation, built for a model with a case's weights: what is judged, timed and trained with."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines._shared.random_state import RandomState
from baselines.contract import Baseline, MetaGradient, Spec, TaskBatch
from experiments.judging.verify import Weights
from experiments.problems.tasks.stream import Arrays


@dataclass(frozen=True)
class Setup:
    """A model with the case's initial weights, and the implementation built for it, in one dtype."""

    spec: Spec
    baseline: Baseline

    def meta_gradient(self, batch: TaskBatch) -> MetaGradient:
        """Compute the implementation's result as tensors, conversions included."""
        return self.baseline.to_torch(self.baseline.meta_gradient(self.baseline.prepare(batch)))


def draws_random_numbers(model: nn.Module, x: Tensor) -> bool:
    """Return whether a forward pass draws from a default generator, as dropout does in training mode."""
    copied = copy.deepcopy(model)
    before = RandomState(x.device)
    with torch.no_grad():
        copied(x)
    return not before.same(RandomState(x.device))


def as_arrays(tensors: dict[str, Tensor]) -> Weights:
    """Copy tensors, of whatever layout, to float64 arrays."""
    return {name: t.detach().to_dense().double().cpu().numpy().copy() for name, t in tensors.items()}


def points_of(batch: TaskBatch) -> Arrays:
    """Copy a batch to float64 arrays, as rounded to its dtype, so that ground truths have the same inputs."""
    return Arrays(*(part.detach().double().cpu().numpy() for part in batch))
