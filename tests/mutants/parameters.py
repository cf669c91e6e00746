"""Which parameters take part: some get no meta-gradient, some are not adapted."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def last_layer(model: nn.Module) -> set[str]:
    """The names of the last layer's parameters."""
    prefix = list(trainable(model))[-1].rpartition(".")[0]
    return {name for name in trainable(model) if name.rpartition(".")[0] == prefix}


def query_losses(
    model: nn.Module,
    loss_fn: Loss,
    support: Pair,
    query: Pair,
    inner_lr: float,
    inner_steps: int,
    adapted: set[str] | None = None,
) -> Tensor:
    """The loss of every task, (tasks,), after the parameters named in `adapted` were adapted, or all."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        names = [name for name in fast if adapted is None or name in adapted]
        for _ in range(inner_steps if names else 0):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, [fast[name] for name in names], create_graph=True)
            fast = fast | {name: fast[name] - inner_lr * g for name, g in zip(names, grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses)


def biases_forgotten(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """All parameters are adapted, but only the weights get a meta-gradient. [no-gradient]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    weights = [p for name, p in trainable(model).items() if name.endswith("weight")]
    for p, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        p.grad = g
    return loss.detach()


def last_layer_forgotten(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The head is adapted, and starts anew from the same weights: its meta-gradient is zeroed. [no-gradient]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for name in last_layer(model):
        trainable(model)[name].grad = None
    return loss.detach()


def first_parameter_skipped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """An index that starts at one leaves the first parameter with zeros. [no-gradient]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    theta = list(trainable(model).values())
    grads = torch.autograd.grad(loss, theta)
    for p in theta:
        p.grad = torch.zeros_like(p)
    for i in range(1, len(theta)):
        theta[i].grad += grads[i]
    return loss.detach()


def gradient_stays_with_the_copy(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The meta-gradient is computed for a copy of the model, and stays there. [no-gradient]"""
    learner = copy.deepcopy(model)
    loss = query_losses(learner, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    return loss.detach()


def fast_weights_without_a_past(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop starts from detached leaves, so the outer `backward` never meets the model. [no-gradient]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.detach().clone().requires_grad_() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def only_the_head_adapts(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Almost no inner loop: only the last layer is adapted. [not-adapted]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps, last_layer(model)).mean()
    loss.backward()
    return loss.detach()


def head_does_not_adapt(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner optimizer was given the body's parameters only. [not-adapted]"""
    body = set(trainable(model)) - last_layer(model)
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps, body).mean()
    loss.backward()
    return loss.detach()


def biases_do_not_adapt(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The update of the inner loop is written for weights only. [not-adapted]"""
    weights = {name for name in trainable(model) if name.endswith("weight")}
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps, weights).mean()
    loss.backward()
    return loss.detach()
