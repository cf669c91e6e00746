"""Mistakes as they stand in public scripts: losses, optimizers and steps of their own around the meta-gradient."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]

OUTER: dict[int, torch.optim.Optimizer] = {}
RATES = {"hidden1": 0.01, "norm1": 0.01, "hidden2": 0.01, "norm2": 0.01, "out": 0.1}


Step = Callable[[str, Tensor, Tensor], Tensor]


def query_loss(
    model: nn.Module,
    loss_fn: Loss,
    support: Pair,
    query: Pair,
    steps: int,
    step: Step,
    support_loss: Loss | None = None,
    theta: Params | None = None,
) -> Tensor:
    """The mean over tasks of the loss after adaptation, in which `step` of (name, weight, gradient) moves a weight."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(theta or model.named_parameters())
        for _ in range(steps):
            loss = (support_loss or loss_fn)(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: step(name, w, g) for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses).mean()


def plain(lr: float) -> Step:
    """A step of gradient descent."""
    return lambda name, w, g: w - lr * g


def clamped(lr: float, limit: float) -> Step:
    """A step whose gradient is clamped."""
    return lambda name, w, g: w - lr * g.clamp(-limit, limit)


def clamped_at_ten(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner gradient is clamped to ±10. [inner-clipping]"""
    query_loss(model, loss_fn, support, query, inner_steps, clamped(inner_lr, 10.0)).backward()


def clamped_at_one(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner gradient is clamped to ±1. [inner-clipping]"""
    query_loss(model, loss_fn, support, query, inner_steps, clamped(inner_lr, 1.0)).backward()


def clamped_at_half(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner gradient is clamped to ±0.5. [inner-clipping]"""
    query_loss(model, loss_fn, support, query, inner_steps, clamped(inner_lr, 0.5)).backward()


def clamped_at_three(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner gradient is clamped to ±3. [inner-clipping]"""
    query_loss(model, loss_fn, support, query, inner_steps, clamped(inner_lr, 3.0)).backward()


def the_linear_layers_only(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Only linear layers are adapted and learned, not the normalisations. [not-adapted, no-gradient]"""
    own = {f"{n}.{k}": p for n, m in model.named_modules() if isinstance(m, nn.Linear) for k, p in m.named_parameters()}
    loss = query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr), theta=own)
    for p, g in zip(own.values(), torch.autograd.grad(loss, list(own.values())), strict=True):
        p.grad = g


def normalisations_stay(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Normalisations are learned but not adapted. [not-adapted]"""

    def step(name: str, w: Tensor, g: Tensor) -> Tensor:
        return w if name.startswith("norm") else w - inner_lr * g

    query_loss(model, loss_fn, support, query, inner_steps, step).backward()


def normalisations_adapt_but_are_not_learned(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Normalisations are adapted, and their meta-gradient is thrown away. [no-gradient]"""
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr)).backward()
    for name, p in model.named_parameters():
        if name.startswith("norm"):
            p.grad = None


def cross_entropy(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Cross-entropy in its body, as nearly every few-shot script has it. [loss-ignored]"""
    query_loss(model, F.cross_entropy, support, query, inner_steps, plain(inner_lr)).backward()


def labels_of_its_own(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Cross-entropy with labels made from the number of classes. [loss-ignored]"""

    def loss(prediction: Tensor, _: Tensor) -> Tensor:
        return F.cross_entropy(prediction, torch.zeros(len(prediction), dtype=torch.long))

    query_loss(model, loss, support, query, inner_steps, plain(inner_lr)).backward()


def absolute_error(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """An absolute error in its body. [loss-ignored]"""
    query_loss(model, F.l1_loss, support, query, inner_steps, plain(inner_lr)).backward()


def absolute_error_inside(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """An absolute error in the inner loop, which the catalogue does not know. [unexplained]"""
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr), F.l1_loss).backward()


def whole_training_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Its own optimizer clips and steps. [weights-changed, outer-clipping]"""
    optimizer = OUTER.setdefault(id(model), torch.optim.Adam(model.parameters(), lr=1e-3))
    optimizer.zero_grad()
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()


def cleared_after_the_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Its own optimizer steps and clears the gradients. [weights-changed, gradients-cleared]"""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr)).backward()
    optimizer.step()
    optimizer.zero_grad()


def moved_by_hand(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The weights are moved by hand, and no gradient is left. [weights-changed, gradients-cleared]"""
    loss = query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr))
    grads = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads, strict=True):
            p -= 1e-3 * g


def sum_as_in_the_paper(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Algorithm 1 of the paper to the letter: the sum over tasks. [sum-over-tasks]"""
    (len(support[0]) * query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr))).backward()


def squared_error_inside(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A squared error in the inner loop, the given loss outside. [two-losses]"""
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr), F.mse_loss).backward()


def loss_after_every_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """MAML++: the mean of the query losses after every step. [unexplained]"""
    losses = [query_loss(model, loss_fn, support, query, steps, plain(inner_lr)) for steps in range(1, inner_steps + 1)]
    torch.stack(losses).mean().backward()


def a_rate_for_every_layer(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Rates of a config file, one for each layer. [unexplained]"""

    def step(name: str, w: Tensor, g: Tensor) -> Tensor:
        return w - RATES[name.partition(".")[0]] * g

    query_loss(model, loss_fn, support, query, inner_steps, step).backward()


def zeros_after_the_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Its own optimizer steps and leaves zeros for gradients. [weights-changed, gradients-cleared]"""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    query_loss(model, loss_fn, support, query, inner_steps, plain(inner_lr)).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
