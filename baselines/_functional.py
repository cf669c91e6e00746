"""The model as a function of its parameters: what our own implementations share."""

import torch
from torch import Tensor
from torch.func import functional_call

from baselines.contract import Baseline, Params, Spec


class Functional(Baseline):
    """An implementation that never touches the module's own parameters, and so serves any `nn.Module`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.has_buffers = any(True for _ in spec.model.buffers())

    def loss(self, phi: Params, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss over points at parameters φ; scalar."""
        tensors = phi
        if self.has_buffers:  # else the call would update running statistics of the model itself
            tensors = phi | {name: b.clone() for name, b in self.spec.model.named_buffers()}
        return self.spec.loss(functional_call(self.spec.model, tensors, (x,)), y)

    def step(self, phi: Params, x: Tensor, y: Tensor, create_graph: bool = False) -> Params:
        """One inner step on the support points, φ − α ∇S(φ)."""
        grads = differentiate(self.loss(phi, x, y), phi, create_graph)
        return {name: p - self.spec.inner.lr * grads[name] for name, p in phi.items()}


def differentiate(loss: Tensor, phi: Params, create_graph: bool = False) -> Params:
    """The gradient of `loss` with respect to φ; zeros for parameters it does not depend on."""
    grads = torch.autograd.grad(
        loss, list(phi.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(phi, grads, strict=True))


def leaves(phi: Params) -> Params:
    """The same parameters cut off from their past: gradients end here. This is the first-order approximation."""
    return {name: p.detach().requires_grad_() for name, p in phi.items()}


def mean(per_task: list[Params]) -> Params:
    """The mean over tasks, parameter by parameter."""
    return {name: torch.stack([g[name] for g in per_task]).mean(0) for name in per_task[0]}
