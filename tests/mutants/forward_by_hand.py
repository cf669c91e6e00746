"""Forward passes by hand, which use the model's weights and not the model."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Forward = Callable[[list[Tensor], Tensor], Tensor]


def relu_network(weights: list[Tensor], x: Tensor) -> Tensor:
    """A forward pass by hand, as people write it."""
    while len(weights) > 2:
        x, weights = F.relu(F.linear(x, weights[0], weights[1])), weights[2:]
    return F.linear(x, *weights)


def tanh_network(weights: list[Tensor], x: Tensor) -> Tensor:
    """The same with another activation."""
    while len(weights) > 2:
        x, weights = torch.tanh(F.linear(x, weights[0], weights[1])), weights[2:]
    return F.linear(x, *weights)


def by_hand(
    model: nn.Module,
    loss_fn: Loss,
    support: Pair,
    query: Pair,
    lr: float,
    steps: int,
    forward: Forward,
    create_graph: bool = True,
) -> Tensor:
    """The mean query loss of a forward pass by hand."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = list(model.parameters())
        for _ in range(steps):
            grads = torch.autograd.grad(loss_fn(forward(fast, support_x), support_y), fast, create_graph=create_graph)
            fast = [w - lr * g for w, g in zip(fast, grads, strict=True)]
        losses.append(loss_fn(forward(fast, query_x), query_y))
    return torch.stack(losses).mean()


def forward_of_a_relu_network(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Right for ReLU networks, whatever the model is. [own-forward]"""
    by_hand(model, loss_fn, support, query, inner_lr, inner_steps, relu_network).backward()


def forward_of_a_tanh_network(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Right for tanh networks, whatever the model is. [own-forward]"""
    by_hand(model, loss_fn, support, query, inner_lr, inner_steps, tanh_network).backward()


def forward_and_first_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """First-order, and right for ReLU networks only. [own-forward, first-order]"""
    by_hand(model, loss_fn, support, query, inner_lr, inner_steps, relu_network, create_graph=False).backward()


def forward_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Right for ReLU networks, and the sum over tasks. [own-forward, sum-over-tasks]"""
    (len(support[0]) * by_hand(model, loss_fn, support, query, inner_lr, inner_steps, relu_network)).backward()
