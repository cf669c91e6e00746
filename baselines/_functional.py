"""The model as a function of its parameters: what our own implementations share."""

import torch
from torch import Tensor

from baselines.contract import Baseline, MetaGradient, Params, Spec, Stateless


class Functional(Baseline):
    """An implementation that never touches the module's own parameters, and so serves any `nn.Module`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.network = Stateless(spec.model)
        self.has_buffers = any(True for _ in spec.model.buffers())

    def loss(self, phi: Params, x: Tensor, y: Tensor, buffers: Params | None = None) -> Tensor:
        """The mean loss over points at parameters φ; scalar. `buffers`: the task's own, else copies of the model's."""
        tensors = phi
        if self.has_buffers:  # else the call would update running statistics of the model itself
            own = dict(self.spec.model.named_buffers()) if buffers is None else buffers
            tensors = phi | {name: b.clone() for name, b in own.items()}
        return self.spec.loss(self.network(tensors, x), y)

    def buffers(self, tasks: int) -> Params:
        """The model's buffers with a task axis, (tasks, …), for `vmap`."""
        return {name: b.expand(tasks, *b.shape) for name, b in self.spec.model.named_buffers()}

    def step(self, phi: Params, x: Tensor, y: Tensor, create_graph: bool = False) -> Params:
        """One inner step on the support points, φ − α ∇S(φ)."""
        grads = differentiate(self.loss(phi, x, y), phi, create_graph)
        return {name: p - self.spec.inner.lr * grads[name] for name, p in phi.items()}


def differentiate(loss: Tensor, phi: Params, create_graph: bool = False) -> Params:
    """The gradient of `loss` with respect to φ; zeros for parameters it does not depend on."""
    grads = torch.autograd.grad(loss, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), grads, strict=True)}


def leaves(phi: Params) -> Params:
    """The same parameters cut off from their past: gradients end here. This is the first-order approximation."""
    return {name: p.detach().requires_grad_() for name, p in phi.items()}


class TaskMean:
    """The mean over tasks, summed as they come, so that no more than one task's gradients are kept."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.total: Params = {}
        self.tasks = 0

    def add(self, grads: Params, loss: Tensor | None = None) -> None:
        """One task's result."""
        self.tasks += 1
        self.total = {name: self.total[name] + g for name, g in grads.items()} if self.total else grads
        if loss is not None:
            self.losses.append(loss.detach())

    def result(self) -> MetaGradient:
        """The mean of the gradients, and all losses, (tasks,), if there are any."""
        grads = {name: g / self.tasks for name, g in self.total.items()}
        return MetaGradient(torch.stack(self.losses) if self.losses else None, grads)
