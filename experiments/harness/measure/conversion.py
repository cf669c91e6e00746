"""What a framework's own conversion of a batch, weights and a result costs: the yardstick of `prepare` and `to_torch`.

What an implementation does there is left out of its step time, so it may be no more than a way from torch to its
framework and back.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.contract import MetaGradient, TaskBatch, trainable
from experiments.harness.measure.clock import Clock
from experiments.harness.measure.setup import Setup

TIMES = 3
SLACK_MS = 0.2


class Framework(NamedTuple):
    """How a tensor becomes an array of a framework's own, and how an array becomes a tensor."""

    enter: Callable[[Tensor], Any]
    leave: Callable[[Any], Tensor]


def framework(name: str) -> Framework:
    """Return the conversions of a framework; by way of NumPy for one that is not known here."""
    if name == "torch":
        return Framework(Tensor.clone, Tensor.clone)
    if name == "jax":
        import jax
        from torch.utils.dlpack import from_dlpack

        return Framework(lambda t: jax.dlpack.from_dlpack(t.clone()), lambda array: from_dlpack(array).clone())
    return Framework(lambda t: t.cpu().numpy().copy(), lambda array: torch.from_numpy(array.copy()))


def own_ms(setup: Setup, batch: TaskBatch, result: MetaGradient, clock: Clock) -> float:
    """Return the milliseconds of the framework's own conversion: batch and weights into it, the result out of it."""
    kind = framework(setup.baseline.framework)
    inputs: Sequence[Tensor] = [*batch, *(p.detach() for p in trainable(setup.spec.model).values())]
    outputs = [*result.grads.values(), *([] if result.task_losses is None else [result.task_losses])]
    arrays = [kind.enter(t.detach()) for t in outputs]
    start = clock()
    for tensor in inputs:
        kind.enter(tensor)
    for array in arrays:
        kind.leave(array)
    setup.baseline.synchronize()
    return (clock() - start) * 1e3


def allowed_ms(own: float) -> float:
    """Return what preparing and converting may take beside a step, given the framework's own conversion."""
    return TIMES * own + SLACK_MS
