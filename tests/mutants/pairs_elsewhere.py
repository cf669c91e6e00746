"""Two mistakes at once, of which one concerns tasks, parameters or the model itself."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def adapt(
    model: nn.Module, loss_fn: Loss, x: Tensor, y: Tensor, lr: float, steps: int, second_order: bool = True
) -> Params:
    """The fast weights of one task."""
    fast = trainable(model)
    for _ in range(steps):
        loss = loss_fn(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
        fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
    return fast


def add_grads(model: nn.Module, learner: nn.Module, weight: float) -> None:
    """Add a copy's gradients to the model's."""
    for p, q in zip(model.parameters(), learner.parameters(), strict=True):
        if q.grad is not None:
            p.grad = weight * q.grad if p.grad is None else p.grad + weight * q.grad


def one_copy_for_all_tasks(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The copy is made before the loop over tasks, so each goes on from the last one. [first-order, task-leak]"""
    learner = copy.deepcopy(model)
    optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))


def federated_averaging(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The query gradient is taken at the mean of the copies' weights. [first-order, weights-averaged]"""
    copies = [copy.deepcopy(model) for _ in support[0]]
    for learner, x, y in zip(copies, *support, strict=True):
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(x), y).backward()
            optimizer.step()
    average = copy.deepcopy(model)
    average.load_state_dict(
        {name: torch.stack([c.state_dict()[name] for c in copies]).mean(0) for name in model.state_dict()}
    )
    for x, y in zip(*query, strict=True):
        (loss_fn(average(x), y) / len(copies)).backward()
    add_grads(model, average, 1.0)


def first_order_head_only(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Only the last layer is adapted, by detached gradients. [first-order, not-adapted]"""
    names = list(trainable(model))[-2:]
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, [fast[name] for name in names])
            fast = fast | {name: fast[name] - inner_lr * g for name, g in zip(names, grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def first_order_clipped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The first-order gradient is clipped to a norm of 0.1. [first-order, outer-clipping]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps, second_order=False)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    return loss.detach()


def one_step_last_task(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """A single inner step, and the outer `backward` after the loop over tasks. [inner-steps, last-task-only]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, 1)
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
    loss.backward()
    return loss.detach()


def both_sets_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is taken on all points, and summed over tasks. [outer-on-both, sum-over-tasks]"""
    loss = torch.zeros(())
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        x, y = torch.cat([support_x, query_x]), torch.cat([support_y, query_y])
        loss = loss + loss_fn(functional_call(model, fast, (x,)), y)
    loss.backward()
    return loss.detach()


def squared_error_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The mean squared error is written in, and tasks add up. [loss-ignored, sum-over-tasks]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, F.mse_loss, support_x, support_y, inner_lr, inner_steps)
        F.mse_loss(functional_call(model, fast, (query_x,)), query_y).backward()


def weights_only_and_points_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Biases get no meta-gradient, and the query loss is summed over points. [no-gradient, sum-over-points]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(len(query_y) * loss_fn(functional_call(model, fast, (query_x,)), query_y))
    weights = [p for p in model.parameters() if p.ndim > 1]
    for p, g in zip(weights, torch.autograd.grad(torch.stack(losses).mean(), weights), strict=True):
        p.grad = g


def restored_from_references(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """After every task the model is loaded from references to its own weights. [task-leak, weights-changed]"""
    before = model.state_dict()
    theta = trainable(model)
    total = {name: torch.zeros_like(p) for name, p in theta.items()}
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        for name, g in zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True):
            total[name] += g / len(support[0])
        for name, p in theta.items():
            p.data.copy_(fast[name].data)
        model.load_state_dict(before)
    for name, p in theta.items():
        p.grad = total[name]


def restored_never(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The last task's support points are learned for good, after a right FOMAML. [first-order, weights-changed]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps, second_order=False)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    with torch.no_grad():
        for name, p in trainable(model).items():
            p.copy_(fast[name])
    return loss.detach()
