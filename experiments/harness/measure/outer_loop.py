"""The outer loop: meta-gradients into Adam, one meta-batch after the other."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from baselines.contract import TaskBatch, trainable
from experiments.harness.measure.setup import Setup


def outer_loop(
    setup: Setup, lr: float, batches: Iterable[TaskBatch], adam: torch.optim.Adam | None = None
) -> Iterator[Tensor | None]:
    """Train the setup's model in place; after each iteration, its mean query loss over tasks, () or None.

    The loss stays on the device, so that reading it forces no synchronisation on every iteration. adam: one for the
    model's parameters, which goes on from where it is; None: a new one.
    """
    parameters = trainable(setup.spec.model)
    adam = adam or torch.optim.Adam(parameters.values(), lr=lr)
    for batch in batches:
        losses, grads = setup.meta_gradient(batch)
        for name, p in parameters.items():
            p.grad = grads[name]
        adam.step()
        adam.zero_grad(set_to_none=True)
        yield None if losses is None else losses.mean()
