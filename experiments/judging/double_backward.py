"""The reverse sweep for any `nn.Module`, in float64, with autograd's Hessian-vector products.

For modules that have no gradient written by hand. It is weaker evidence than the NumPy oracles, since it trusts
torch's own derivatives; but it keeps no graph through the inner loop and calls the module as it is, with weights
written into a copy of it, so it shares nothing with the implementations that differentiate through theirs, and rows
judged by it say so.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from experiments.judging.oracles.sweep import Computes, sweep
from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.stream import Arrays


def double_backward(
    computes: Computes,
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    theta: dict[str, Floats],
    batch: Arrays,
    lr: float,
    steps: int,
) -> dict[str, Floats]:
    """The mean over tasks of what `computes` names, at the parameters `theta`."""
    net = copy.deepcopy(model).double().cpu()
    own = {name: p.requires_grad_() for name, p in net.named_parameters() if name in theta}
    start = {name: torch.from_numpy(np.array(value)) for name, value in theta.items()}

    def gradient(phi: dict[str, Tensor], x: Tensor, y: Tensor, create_graph: bool = False) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(phi[name])
        return _derivative(loss(net(x), y), own, create_graph)

    def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> dict[str, Tensor]:
        def hessian_vector(phi: dict[str, Tensor], v: dict[str, Tensor]) -> dict[str, Tensor]:
            grads = gradient(phi, support_x, support_y, create_graph=True)
            inner = sum((grads[name] * v[name]).sum() for name in own)
            if not isinstance(inner, Tensor) or not inner.requires_grad:  # a loss linear in the parameters
                return {name: torch.zeros_like(p) for name, p in own.items()}
            return _derivative(inner, own)

        return sweep(
            computes,
            start,
            lambda phi: gradient(phi, support_x, support_y),
            lambda phi: gradient(phi, query_x, query_y),
            hessian_vector,
            lr,
            steps,
        )

    tasks = [of_task(*(torch.from_numpy(part) for part in task)) for task in zip(*batch, strict=True)]
    return {name: torch.stack([t[name] for t in tasks]).mean(0).numpy() for name in start}


def _derivative(value: Tensor, phi: dict[str, Tensor], create_graph: bool = False) -> dict[str, Tensor]:
    """Of a scalar by every parameter; zeros for those it does not depend on."""
    found = torch.autograd.grad(value, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), found, strict=True)}
