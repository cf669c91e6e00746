"""The model as a function of its parameters: what our own implementations share."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from baselines._shared.eager import PAST, Eager
from baselines._shared.module_state import unchanged
from baselines._shared.random_state import RandomState
from baselines.contract import MetaGradient, Params, TaskBatch


class Functional(Eager):
    """An implementation that lends φ to the module for a forward, and so serves any `nn.Module`."""

    writes: bool | None = None
    """Whether a forward changes attributes of the module; what one leaves there, such as a cache, is not φ's next."""

    @contextmanager
    def call(self, batch: TaskBatch) -> Iterator[TaskBatch]:
        """As `Eager` does; the model's own tensors are absent meanwhile, so that nobody takes θ for φ."""
        with super().call(batch) as own, self.absent():
            if self.writes is None and not self.stock:
                now = RandomState(self.spec.device)
                with now.again(), unchanged(self.spec.model) as changed, self.network.holding(self.tensors(self.theta)):
                    self.spec.model(own.support_x[0].clone())
                self.writes = bool(changed)
            yield own

    def found_changed(self, containers: list[Any]) -> None:
        """Raise RuntimeError: from the next call on, each forward starts from the module as it is."""
        super().found_changed(containers)
        if not self.writes:
            self.writes = True
            raise RuntimeError("a forward has begun to change attributes of its module: call again")

    @contextmanager
    def lending(self, phi: Params, buffers: Params | None = None) -> Iterator[None]:
        """φ in place, and copies of the buffers; what is written to the module is undone."""
        with self.network.holding(self.tensors(phi, buffers)):
            if self.stock or not self.writes:
                yield
            else:
                with unchanged(self.spec.model) as changed:
                    yield
                if changed:
                    self.found_changed(changed)

    def loss(self, phi: Params, x: Tensor, y: Tensor, buffers: Params | None = None) -> Tensor:
        """The mean loss over points at parameters φ; scalar. `buffers`: the task's own, else copies of the model's."""
        with self.lending(phi, buffers):
            return self.spec.loss(self.spec.model(x), y)

    def gradient(self, phi: Params, x: Tensor, y: Tensor, create_graph: bool = False) -> tuple[Params, Tensor]:
        """∇S(φ) and S(φ); φ is in place until both are there, for what a backward pass computes again."""
        with self.lending(phi):
            loss = self.spec.loss(self.spec.model(x), y)
            return differentiate(loss, phi, create_graph, self.theta.values()), loss

    def tensors(self, phi: Params, buffers: Params | None = None) -> Params:
        """φ, and copies of the buffers: else the call would update running statistics of the model itself."""
        own = self.network.buffers if buffers is None else buffers
        return phi | {name: b.clone() for name, b in own.items()} if own else phi

    def buffers(self, tasks: int) -> Params:
        """The model's buffers with a task axis, (tasks, …), for `vmap`."""
        return {name: b.expand(tasks, *b.shape) for name, b in self.network.buffers.items()}

    def step(self, phi: Params, x: Tensor, y: Tensor, create_graph: bool = False) -> Params:
        """One inner step on the support points, φ − α ∇S(φ)."""
        grads, _ = self.gradient(phi, x, y, create_graph)
        return {name: p - self.spec.inner.lr * grads[name] for name, p in phi.items()}


def differentiate(loss: Tensor, phi: Params, create_graph: bool = False, strangers: Collection[Tensor] = ()) -> Params:
    """The gradient of `loss` with respect to φ; zeros for parameters it does not depend on.

    Raises RuntimeError where it depends on one of the `strangers`, which φ should have stood for.
    """
    if not loss.requires_grad:
        return {name: torch.zeros_like(p) for name, p in phi.items()}
    inputs = [*phi.values(), *strangers]
    grads = torch.autograd.grad(loss, inputs, create_graph=create_graph, allow_unused=True) if inputs else ()
    if any(g is not None for g in grads[len(phi) :]):
        raise RuntimeError(PAST)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), grads, strict=False)}


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
