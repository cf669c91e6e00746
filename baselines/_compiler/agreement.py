"""Tell whether two meta-gradients are the same but for rounding."""

import copy
import math

import torch

from baselines.contract import Baseline, MetaGradient, Spec, TaskBatch


def disagreement(result: MetaGradient, reference: MetaGradient) -> float:
    """Compute the distance of a meta-gradient from a reference, relative to it; ∞ where only one of them is finite."""
    distance = size = 0.0
    if result.grads.keys() != reference.grads.keys():
        return math.inf
    for name, right in reference.grads.items():
        grad, finite = result.grads[name], right.isfinite()
        if grad.shape != right.shape or not torch.equal(grad.isfinite(), finite):
            return math.inf
        distance += float((grad - right)[finite].double().square().sum())
        size += float(right[finite].double().square().sum())
    return math.sqrt(distance / size) if size else math.sqrt(distance)


def is_finite(result: MetaGradient) -> bool:
    """Tell whether every element of the meta-gradient is finite."""
    return all(bool(grad.isfinite().all()) for grad in result.grads.values())


def agree(result: MetaGradient, reference: MetaGradient, implementation: Baseline, batch: TaskBatch) -> bool:
    """Tell whether a meta-gradient is, but for rounding, the reference that `implementation` computed for `batch`.

    Where they differ in float32 by more than is likely, rounding is measured: how far the reference is from float64's.
    """
    dtype = implementation.spec.dtype
    bound = torch.finfo(dtype).eps ** 0.3  # 2e-5 in float64: far above rounding, far below 1
    distance = disagreement(result, reference)
    if distance < bound:
        return True
    return dtype is not torch.float64 and distance < 10 * _rounding(reference, implementation, batch)


def _rounding(result: MetaGradient, implementation: Baseline, batch: TaskBatch) -> float:
    """Measure the distance of a result from the same in float64; 0 where the model cannot be had in float64."""
    try:
        spec, model = implementation.spec, copy.deepcopy(implementation.spec.model).double()
        double = type(implementation)(Spec(model, spec.loss, spec.inner, spec.device, torch.float64))
        points = TaskBatch(*(t.double() if t.is_floating_point() else t for t in batch))
        return disagreement(result, double.to_torch(double.meta_gradient(double.prepare(points))))
    except Exception:
        return 0.0
