"""How large the meta-gradient is: factors, sums for means, signs, clipping, and no number at all."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]

META_LR = 1e-3


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def adapt(model: nn.Module, loss_fn: Loss, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """The fast weights of one task."""
    fast = trainable(model)
    for _ in range(steps):
        loss = loss_fn(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
    return fast


def query_losses(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The loss of every task after adaptation, (tasks,)."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses)


def meta_learning_rate_included(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`.grad` holds the meta-update, with the outer learning rate in it. [constant-factor]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    grads = torch.autograd.grad(loss, list(trainable(model).values()))
    for p, g in zip(trainable(model).values(), grads, strict=True):
        p.grad = META_LR * g
    return loss.detach()


def backward_twice(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss goes backward once to look at the gradient's norm, and once more. [constant-factor]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward(retain_graph=True)
    nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    loss.backward()
    return loss.detach()


def loss_scale_left_in(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The loss is scaled up as for half precision, and the gradient is not scaled back. [constant-factor]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    (loss * 1024).backward()
    return loss.detach()


def losses_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is the sum over tasks. [sum-over-tasks]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).sum()
    loss.backward()
    return loss.detach()


def accumulated_without_division(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> float:
    """Every task goes backward by itself, and nobody divides by their number. [sum-over-tasks]"""
    total = 0.0
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        loss.backward()
        total += loss.item()
    return total / len(support[0])


def vmapped_and_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The gradients of all tasks come from one vmap, and are summed over its axis. [sum-over-tasks]"""

    def task_loss(theta: Params, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        fast = theta
        for _ in range(inner_steps):
            grads = torch.func.grad(lambda w: loss_fn(functional_call(model, w, (support_x,)), support_y))(fast)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        return loss_fn(functional_call(model, fast, (query_x,)), query_y)

    theta = {name: p.detach() for name, p in trainable(model).items()}
    per_task = torch.vmap(torch.func.grad(task_loss), in_dims=(None, 0, 0, 0, 0))(theta, *support, *query)
    for name, p in trainable(model).items():
        p.grad = per_task[name].sum(dim=0)


def times_the_number_of_points(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The query loss is multiplied by the number of points, as one does to report a total. [sum-over-points]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y) * len(query_x))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def point_by_point(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every query point goes backward by itself, so their losses add up. [sum-over-points]"""
    tasks = len(support[0])
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        for x, y in zip(query_x, query_y, strict=True):
            loss = loss_fn(functional_call(model, fast, (x[None],)), y[None])
            (loss / tasks).backward(retain_graph=True)


def loss_maximised(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is turned into a reward. [wrong-sign]"""
    reward = -query_losses(model, loss_fn, support, query, inner_lr, inner_steps)
    reward.mean().backward()
    return -reward.mean().detach()


def descent_direction(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`.grad` holds the direction in which to go, not the gradient. [wrong-sign]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    grads = torch.autograd.grad(loss, list(trainable(model).values()))
    for p, g in zip(trainable(model).values(), grads, strict=True):
        p.grad = torch.zeros_like(p) - g
    return loss.detach()


def norm_clipped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The meta-gradient's norm is limited to 0.1. [outer-clipping]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    return loss.detach()


def norm_clipped_to_one(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The meta-gradient's norm is limited to 1, written by hand. [outer-clipping]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum(g.pow(2).sum() for g in grads))
    if norm > 1:
        for g in grads:
            g.div_(norm)
    return loss.detach()


def values_clipped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Every entry of the meta-gradient is limited to ±0.05. [outer-clipping]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 0.05)
    return loss.detach()


def unit_length(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The meta-gradient is divided by its norm. [outer-normalised]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    grads = torch.autograd.grad(loss, list(trainable(model).values()))
    norm = nn.utils.parameters_to_vector(grads).norm()
    for p, g in zip(trainable(model).values(), grads, strict=True):
        p.grad = g / norm
    return loss.detach()


def unit_length_each(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The meta-gradient of every parameter is divided by its own norm. [outer-normalised]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for p in trainable(model).values():
        p.grad /= p.grad.norm() + 1e-8
    return loss.detach()


def distance_to_itself(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loss has the distance to θ as a penalty, whose root has no slope at zero. [nan]"""
    theta = trainable(model)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = theta
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            loss = loss + 0.1 * torch.sqrt(sum((w - theta[name].detach()).pow(2).sum() for name, w in fast.items()))
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def standardised(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Meta-gradients are divided by their standard deviation, which a single number has none of. [nan]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for p in trainable(model).values():
        p.grad = p.grad / p.grad.std()
    return loss.detach()
