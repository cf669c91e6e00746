"""Mistakes with learn2learn and higher, which are imported where they are used."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]


def learn2learn_maml() -> type[nn.Module]:
    """`learn2learn.algorithms.MAML`, also where learn2learn's other parts do not import."""
    try:
        from learn2learn.algorithms import MAML
    except Exception:  # torchvision or gym are missing: enter the package without its __init__
        import importlib.util
        import sys
        import types

        for name in [m for m in sys.modules if m.split(".")[0] == "learn2learn"]:
            del sys.modules[name]
        package = types.ModuleType("learn2learn")
        package.__path__ = list(importlib.util.find_spec("learn2learn").submodule_search_locations)
        sys.modules["learn2learn"] = package
        from learn2learn.algorithms import MAML
    return MAML


def learn2learn_first_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """learn2learn was told to be quick: `first_order=True`. [first-order]"""
    maml = learn2learn_maml()(model, lr=inner_lr, first_order=True)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = maml.clone()
        for _ in range(inner_steps):
            learner.adapt(loss_fn(learner(support_x), support_y))
        (loss_fn(learner(query_x), query_y) / len(support[0])).backward()


def learn2learn_one_clone(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`clone()` is called before the loop over tasks, so each goes on from the last one. [task-leak]"""
    learner = learn2learn_maml()(model, lr=inner_lr).clone()
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        for _ in range(inner_steps):
            learner.adapt(loss_fn(learner(support_x), support_y))
        losses.append(loss_fn(learner(query_x), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def learn2learn_not_divided(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The examples divide by the number of tasks just before the outer step; this does not. [sum-over-tasks]"""
    maml = learn2learn_maml()(model, lr=inner_lr, first_order=False)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = maml.clone()
        for _ in range(inner_steps):
            learner.adapt(loss_fn(learner(support_x), support_y))
        loss_fn(learner(query_x), query_y).backward()


def higher_copies_the_weights(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """higher's default copies the initial weights out of the graph. [no-gradient]"""
    import higher

    optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        with higher.innerloop_ctx(model, optimizer) as (learner, inner):
            for _ in range(inner_steps):
                inner.step(loss_fn(learner(support_x), support_y))
            (loss_fn(learner(query_x), query_y) / len(support[0])).backward()


def higher_with_momentum(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """higher differentiates through the optimizer it is given, here one with momentum. [inner-momentum]"""
    import higher

    optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr, momentum=0.9)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (learner, inner):
            for _ in range(inner_steps):
                inner.step(loss_fn(learner(support_x), support_y))
            (loss_fn(learner(query_x), query_y) / len(support[0])).backward()
