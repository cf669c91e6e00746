"""Two mistakes at once."""

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


def copies_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Copies are trained, and their query gradients are added to the model's. [first-order, sum-over-tasks]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1.0)


def first_order_on_support(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """No graph of the inner gradients, and the support points for the outer loss. [first-order, outer-on-support]"""
    losses = []
    for x, y in zip(*support, strict=True):
        fast = adapt(model, loss_fn, x, y, inner_lr, inner_steps, second_order=False)
        losses.append(loss_fn(functional_call(model, fast, (x,)), y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def first_order_swapped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """No graph of the inner gradients, and the two sets unpacked the wrong way round. [first-order, swapped]"""
    losses = []
    for query_x, query_y, support_x, support_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps, second_order=False)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def fixed_rate_and_sum(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """An inner step size of 0.01 is written in, and the losses are summed. [inner-lr, sum-over-tasks]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, 0.01, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).sum()
    loss.backward()
    return loss.detach()


def truncated_reward(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Only the last inner step keeps its graph, and the outer loss is maximised. [truncated, wrong-sign]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for step in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=step == inner_steps - 1)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        reward = -loss_fn(functional_call(model, fast, (query_x,)), query_y)
        (reward / len(support[0])).backward()


def copy_with_momentum(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The copies are trained by SGD with a momentum of 0.9. [first-order, inner-momentum]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr, momentum=0.9)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))


def copy_without_zero_grad(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Gradients are cleared before the inner loop and after it, never within. [first-order, inner-momentum]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        optimizer.zero_grad()
        for _ in range(inner_steps):
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))


def copy_with_weight_decay(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The copies are trained by SGD with a weight decay of 0.01. [first-order, inner-weight-decay]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr, weight_decay=0.01)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))


def copy_with_clipping(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The copies' gradients are clipped to a norm of 0.25 in the inner loop. [first-order, inner-clipping]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 0.25)
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))


def copy_not_cleared_before_the_query(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The last inner gradient still lies in the copy's `.grad` at the query loss. [first-order, inner-gradients]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        loss_fn(learner(query_x), query_y).backward()
        add_grads(model, learner, 1 / len(support[0]))
