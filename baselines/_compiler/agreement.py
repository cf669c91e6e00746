"""Tell whether two results are the same but for rounding."""

import copy
import math

import torch

from baselines.contract import Baseline, MetaGradient, Spec, TaskBatch


def disagreement(result: MetaGradient, expected: MetaGradient) -> float:
    """The distance between two meta-gradients, relative to the second; infinite where only one of them is finite."""
    distance = size = 0.0
    if result.grads.keys() != expected.grads.keys():
        return math.inf
    for name, right in expected.grads.items():
        grad, finite = result.grads[name], right.isfinite()
        if grad.shape != right.shape or not torch.equal(grad.isfinite(), finite):
            return math.inf
        distance += float((grad - right)[finite].double().square().sum())
        size += float(right[finite].double().square().sum())
    return math.sqrt(distance / size) if size else math.sqrt(distance)


def is_finite(result: MetaGradient) -> bool:
    """Whether every element of the meta-gradient is finite."""
    return all(bool(grad.isfinite().all()) for grad in result.grads.values())


def agree(result: MetaGradient, expected: MetaGradient, by: Baseline, batch: TaskBatch) -> bool:
    """Whether `result` is the meta-gradient `expected`, computed by the implementation `by`, but for rounding.

    Where they differ in float32 by more than is likely, rounding is measured: how far `expected` is from float64's.
    """
    bound = torch.finfo(by.spec.dtype).eps ** 0.3  # 2e-5 in float64: far above rounding, far below 1
    distance = disagreement(result, expected)
    return distance < bound or (by.spec.dtype is not torch.float64 and distance < 10 * _rounding(expected, by, batch))


def _rounding(expected: MetaGradient, by: Baseline, batch: TaskBatch) -> float:
    """The distance of a result from the same in float64; 0 where the model cannot be had in float64."""
    try:
        spec, model = by.spec, copy.deepcopy(by.spec.model).double()
        double = type(by)(Spec(model, spec.loss, spec.inner, spec.device, torch.float64))
        points = TaskBatch(*(t.double() if t.is_floating_point() else t for t in batch))
        return disagreement(expected, double.to_torch(double.meta_gradient(double.prepare(points))))
    except Exception:
        return 0.0
