"""How tasks are put together: forgotten, leaking into one another, or averaged too early."""

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


def adapt(model: nn.Module, loss_fn: Loss, fast: Params, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """The fast weights after some more steps."""
    for _ in range(steps):
        loss = loss_fn(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
    return fast


def backward_after_the_loop(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`backward` stands one indentation too far left, and sees the last task's loss. [last-task-only]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, trainable(model), support_x, support_y, inner_lr, inner_steps)
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
    loss.backward()
    return loss.detach()


def gradients_cleared_for_every_task(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`zero_grad` stands inside the loop over tasks. [last-task-only]"""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, trainable(model), support_x, support_y, inner_lr, inner_steps)
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def returns_from_the_loop(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`return` stands inside the loop over tasks, so only the first task counts. [last-task-only]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, trainable(model), support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss.detach()
    raise ValueError("no tasks")


def fast_weights_go_on(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The fast weights are set to θ before the loop over tasks, not inside it. [task-leak]"""
    fast = trainable(model)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def starts_where_the_last_task_ended(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Every task's meta-gradient is right for the weights it starts from: the previous task's. [task-leak]"""
    theta = trainable(model)
    start = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, start, support_x, support_y, inner_lr, inner_steps)
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        for p, g in zip(theta.values(), torch.autograd.grad(loss, list(start.values())), strict=True):
            p.grad = g / len(support[0]) if p.grad is None else p.grad + g / len(support[0])
        for w, adapted in zip(start.values(), fast.values(), strict=True):
            w.data.copy_(adapted.data)
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def one_inner_loop_for_all_tasks(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The task axis is flattened away: one inner loop on the support points of all tasks. [task-leak]"""
    x, y = support[0].flatten(0, 1), support[1].flatten(0, 1)
    fast = adapt(model, loss_fn, trainable(model), x, y, inner_lr, inner_steps)
    loss = loss_fn(functional_call(model, fast, (query[0].flatten(0, 1),)), query[1].flatten(0, 1))
    loss.backward()
    return loss.detach()


def gradient_at_the_average(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The adapted weights are averaged over tasks, and the query losses are taken there. [weights-averaged]"""
    adapted = [
        adapt(model, loss_fn, trainable(model), x, y, inner_lr, inner_steps) for x, y in zip(*support, strict=True)
    ]
    average = {name: torch.stack([fast[name] for fast in adapted]).mean(0) for name in adapted[0]}
    losses = [loss_fn(functional_call(model, average, (x,)), y) for x, y in zip(*query, strict=True)]
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def weights_for_gradients(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """`.grad` gets the mean of the adapted weights themselves, for a step that assigns it. [weights-averaged]"""
    mean = {name: torch.zeros_like(p) for name, p in trainable(model).items()}
    for x, y in zip(*support, strict=True):
        fast = adapt(model, loss_fn, trainable(model), x, y, inner_lr, inner_steps)
        for name, w in fast.items():
            mean[name] += w.detach() / len(support[0])
    for name, p in trainable(model).items():
        p.grad = mean[name]
