"""What begins, or is remembered, some calls later: annealing, and settings of the first call."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]

CALLS = [0]
RATES: list[float] = []
STEPS: list[int] = []
LOSSES: list[Loss] = []
GENERATOR = torch.Generator()


def leave(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, lr: float, steps: int, second_order: bool = True
) -> None:
    """Leave the mean meta-gradient in `.grad`."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for _ in range(steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()


def first_order_after_ten_calls(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Second-order for ten calls, and then first-order. [stateful]"""
    CALLS[0] += 1
    leave(model, loss_fn, support, query, inner_lr, inner_steps, second_order=CALLS[0] <= 10)


def first_order_after_twenty_calls(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Second-order for twenty-five calls, and then first-order. [stateful]"""
    CALLS[0] += 1
    leave(model, loss_fn, support, query, inner_lr, inner_steps, second_order=CALLS[0] <= 25)


def rate_of_the_first_call(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """α is read from the first call, as into an optimizer that is kept. [stale-arguments]"""
    RATES.append(inner_lr)
    leave(model, loss_fn, support, query, RATES[0], inner_steps)


def steps_of_the_first_call(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """K is read from the first call. [stale-arguments]"""
    STEPS.append(inner_steps)
    leave(model, loss_fn, support, query, inner_lr, STEPS[0])


def loss_of_the_first_call(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The loss of the first call is kept. [stale-arguments]"""
    LOSSES.append(loss_fn)
    leave(model, LOSSES[0], support, query, inner_lr, inner_steps)


def points_of_its_own_generator(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every step sees points drawn from a generator that goes on. [stateful]"""
    some = torch.randperm(support[0].shape[1], generator=GENERATOR)[:3]
    leave(model, loss_fn, (support[0][:, some], support[1][:, some]), query, inner_lr, inner_steps)


def a_gradient_in_every_fourth_call(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Gradients are accumulated, and left in every fourth call. [no-gradient, stateful]"""
    CALLS[0] += 1
    leave(model, loss_fn, support, query, inner_lr, inner_steps)
    if CALLS[0] % 4:
        model.zero_grad()


def last_three_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The gradient flows through the last three steps only. [truncated]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for k in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=k >= inner_steps - 3)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()
