"""Compute the ground truth for any `nn.Module` by an adjoint sweep with autograd's Hessian-vector products, in float64.

It is for modules without a hand-written gradient. It is weaker evidence than the NumPy oracles, since it trusts torch's
derivatives, and rows judged by it say so. But it keeps no graph through the inner loop, and it calls a copy of the
module with the weights written into it, so it shares nothing with implementations that differentiate through the loop.
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
    """Compute the mean over tasks of what `computes` names, at the weights `theta`; arrays are float64."""
    net = copy.deepcopy(model).double().cpu()
    parameters = {name: p.requires_grad_() for name, p in net.named_parameters() if name in theta}
    start = {name: torch.from_numpy(np.array(value)) for name, value in theta.items()}

    def gradient(phi: dict[str, Tensor], x: Tensor, y: Tensor, create_graph: bool = False) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(phi[name])
        return _derivative(loss(net(x), y), parameters, create_graph)

    def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> dict[str, Tensor]:
        def hessian_vector(phi: dict[str, Tensor], v: dict[str, Tensor]) -> dict[str, Tensor]:
            grads = gradient(phi, support_x, support_y, create_graph=True)
            inner = sum((grads[name] * v[name]).sum() for name in parameters)
            if not isinstance(inner, Tensor) or not inner.requires_grad:  # a loss linear in the parameters
                return {name: torch.zeros_like(p) for name, p in parameters.items()}
            return _derivative(inner, parameters)

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
    """Differentiate a scalar by every parameter; zeros for parameters that it does not depend on."""
    grads = torch.autograd.grad(value, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), grads, strict=True)}
