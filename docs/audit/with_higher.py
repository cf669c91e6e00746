"""Second-order MAML with higher 0.2.1, as a function for `maml-bench audit`."""

from collections.abc import Callable

import higher
import torch
from torch import Tensor, nn

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
    optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        # without copy_initial_weights=False the model gets no gradient at all
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (learner, inner):
            for _ in range(inner_steps):
                inner.step(loss_fn(learner(support_x), support_y))
            loss = loss_fn(learner(query_x), query_y)
            (loss / len(support[0])).backward()  # without the division this is the sum over tasks
            losses.append(loss.detach())
    return torch.stack(losses).mean()
