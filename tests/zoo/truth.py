"""The meta-gradient by plain torch.autograd through the unrolled inner loop, on the module as it is at that moment.

It shares no code with the implementations: φ is put into every place that holds θ, and the module is called.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from baselines.contract import Computes, Loss, Params, TaskBatch
from experiments.judging.verify import error

LR = 0.1
STEPS = 2


def meta_gradient(
    model: nn.Module,
    loss: Loss,
    batch: TaskBatch,
    computes: Computes = "maml",
    steps: int = STEPS,
    carried: bool = False,
) -> Params:
    """The mean over tasks, by the parameters' names.

    carried: buffers that a forward writes to are a task's own from step to step; else each forward finds the model's.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    total: Params = {}
    with (
        warnings.catch_warnings(action="ignore"),
        torch.inference_mode(False),
        torch.enable_grad(),
        patch.object(nn.utils.parametrize, "_cache_enabled", 0),
        sdpa_kernel(SDPBackend.MATH),  # the others have no second derivative
    ):
        for task in zip(*batch, strict=True):
            grads = _Task(model, loss, carried).gradient(task, computes, steps)
            total = {name: grads[name] + total.get(name, 0) for name in names}
    return {name: t.detach() / len(batch.support_x) for name, t in total.items()}


class _Task:
    def __init__(self, model: nn.Module, loss: Loss, carried: bool) -> None:
        self.model, self.loss, self.carried = model, loss, carried
        self.theta: Params = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.buffers = _copies(model)

    def at(self, phi: Params, x: Tensor, y: Tensor) -> Tensor:
        """The loss at φ."""
        parameters = {id(p): phi[name] for name, p in self.theta.items()}
        places = [(m._buffers, name, id(b)) for m in self.model.modules() for name, b in m._buffers.items()]
        with standing_in(self.model, parameters | (self.buffers if self.carried else _copies(self.model))):
            loss = self.loss(self.model(x.clone()), y.clone())  # which they may change in place
            self.buffers = {key: buffers[name] for buffers, name, key in places if key in self.buffers}  # type: ignore
            return loss

    def gradient(self, task: tuple[Tensor, ...], computes: Computes, steps: int) -> Params:
        support_x, support_y, query_x, query_y = task
        if computes == "pretraining":
            return _gradient(self.at(self.theta, support_x, support_y), self.theta)
        phi = self.theta if computes == "maml" else _leaves(self.theta)
        for _ in range(steps):
            grads = _gradient(self.at(phi, support_x, support_y), phi, create_graph=computes == "maml")
            phi = {name: p - LR * grads[name] for name, p in phi.items()}
            if computes != "maml":
                phi = _leaves(phi)
        if computes == "reptile":
            return {name: self.theta[name] - p for name, p in phi.items()}
        return _gradient(self.at(phi, query_x, query_y), self.theta if computes == "maml" else phi)


@contextmanager
def standing_in(model: nn.Module, tensors: dict[int, Tensor]) -> Iterator[None]:
    """Within it, tensors stand in the places of those whose ids are given; no attribute that is set stays."""
    before = [(m, dict(vars(m)), dict(m._parameters), dict(m._buffers)) for m in model.modules()]
    for m, *_ in before:
        for places in (m._parameters, m._buffers):
            places.update({name: tensors[id(t)] for name, t in places.items() if id(t) in tensors})  # type: ignore
    try:
        yield
    finally:
        for m, attributes, parameters, buffers in before:
            vars(m).clear()
            vars(m).update(attributes)
            m._parameters.update(parameters)
            m._buffers.update(buffers)


def _copies(model: nn.Module) -> dict[int, Tensor]:
    return {id(b): b.clone() for b in model.buffers()}


def _leaves(phi: Params) -> Params:
    return {name: p.detach().requires_grad_() for name, p in phi.items()}


def _gradient(loss: Tensor, phi: Params, create_graph: bool = False) -> Params:
    grads = torch.autograd.grad(loss, list(phi.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(phi.items(), grads, strict=True)}


def distance(gradient: Params, truth: Params) -> float:
    """The relative error, the largest over parameters; infinite where names, shapes or dtypes are others."""
    forms = [{name: (t.shape, t.dtype) for name, t in tensors.items()} for tensors in (gradient, truth)]
    if forms[0] != forms[1]:
        return float("inf")
    return error(*({name: t.detach().double().numpy() for name, t in tensors.items()} for tensors in (gradient, truth)))
