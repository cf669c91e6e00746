"""Second-order MAML with learn2learn 0.2.0, as a function for `maml-bench audit`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

try:
    from learn2learn.algorithms import MAML
except Exception:  # torchvision or gym are missing, as in this project: enter the package without its __init__
    import importlib.util
    import sys
    import types

    for name in [m for m in sys.modules if m.split(".")[0] == "learn2learn"]:
        del sys.modules[name]  # the half-imported remains
    package = types.ModuleType("learn2learn")
    package.__path__ = importlib.util.find_spec("learn2learn").submodule_search_locations
    sys.modules["learn2learn"] = package
    from learn2learn.algorithms import MAML

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
    maml = MAML(model, lr=inner_lr)  # with first_order=True this is first-order MAML
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = maml.clone()  # a line further up, every task would start where the last one ended
        for _ in range(inner_steps):
            learner.adapt(loss_fn(learner(support_x), support_y))
        losses.append(loss_fn(learner(query_x), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()
