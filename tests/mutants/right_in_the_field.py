"""Right functions as they stand in public scripts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def adapt(model: nn.Module, loss_fn: Loss, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """The fast weights of one task."""
    fast = dict(model.named_parameters())
    for _ in range(steps):
        loss = loss_fn(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
    return fast


def query_loss(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, lr: float, steps: int, weights: Tensor | None = None
) -> Tensor:
    """The sum over tasks of the loss after adaptation, weighted, or the mean."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, lr, steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses).mean() if weights is None else (weights * torch.stack(losses)).sum()


def weights_in_single_precision(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The weights 1/T of the tasks are in float32. [maml; single-precision]"""
    weights = torch.ones(len(support[0]), dtype=torch.float32) / len(support[0])
    query_loss(model, loss_fn, support, query, inner_lr, inner_steps, weights).backward()


def rate_in_single_precision(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """α is a tensor in float32. [maml; single-precision]"""
    rate = float(torch.tensor(inner_lr, dtype=torch.float32))
    query_loss(model, loss_fn, support, query, rate, inner_steps).backward()


def gradients_returned(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> tuple[Tensor, ...]:
    """The meta-gradient is returned as a tuple. [maml; gradients-returned]"""
    return torch.autograd.grad(
        query_loss(model, loss_fn, support, query, inner_lr, inner_steps), list(model.parameters())
    )


def gradients_returned_by_name(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> tuple[Tensor, Params]:
    """The meta-gradient is returned by name, beside the loss. [maml; gradients-returned]"""
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach(), dict(zip(dict(model.named_parameters()), grads, strict=True))


def gradients_returned_beside_zeros(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> tuple[Tensor, Params]:
    """The meta-gradient is returned by name, and `.grad` is set to zeros. [maml; gradients-returned]"""
    query_loss(model, loss_fn, support, query, inner_lr, inner_steps).backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=False)
    return torch.zeros(()), grads


def a_word_returned(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> str:
    """Something that is no loss is returned beside what is left. [maml]"""
    query_loss(model, loss_fn, support, query, inner_lr, inner_steps).backward()
    return "done"


def sparse_gradients(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """`.grad` is a sparse tensor. [maml; breaks-contract]"""
    query_loss(model, loss_fn, support, query, inner_lr, inner_steps).backward()
    for p in model.parameters():
        if p.grad is not None and p.dim() == 2:
            p.grad = p.grad.to_sparse()
