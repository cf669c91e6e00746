"""Second-order MAML in plain PyTorch, as a function for `maml-bench audit`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Pair = tuple[Tensor, Tensor]


def meta_step(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    support: Pair,
    query: Pair,
    inner_lr: float,
    inner_steps: int,
) -> Tensor:
    """Leave the meta-gradient, the mean over tasks, in `.grad` and return the query loss."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            # without create_graph=True this is first-order MAML: the gradients would be constants
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()
