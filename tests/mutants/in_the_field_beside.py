"""More mistakes as they stand in public scripts: inner optimizers, literals and random numbers in their bodies."""

from collections.abc import Callable

import higher
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def in_a_loop(
    model: nn.Module,
    loss_fn: Loss,
    support: Pair,
    query: Pair,
    lr: float,
    steps: int,
    create_graph: bool = True,
    choose: Callable[[int], Tensor] = torch.arange,
) -> Tensor:
    """The mean query loss of an ordinary inner loop, every step of which sees the points that `choose` gives."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for _ in range(steps):
            some = choose(len(support_x))
            loss = loss_fn(functional_call(model, fast, (support_x[some],)), support_y[some])
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=create_graph)
            fast = {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses).mean()


def clipped(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, lr: float, steps: int, limit: float) -> None:
    """An inner loop whose gradients are clipped by their norm, as `clip_grad_norm_` does it."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for _ in range(steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            norm = torch.stack([g.norm() for g in grads]).norm()
            factor = (limit / (norm + 1e-6)).clamp(max=1.0)
            fast = {name: w - lr * factor * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()


def with_higher(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, lr: float, steps: int, first: bool, **options: float
) -> None:
    """higher's inner loop around SGD with options."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, **options)  # type: ignore[arg-type]
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (functional, differentiable):
            for _ in range(steps):
                differentiable.step(
                    loss_fn(functional(support_x), support_y),
                    grad_callback=(lambda grads: [g.detach() for g in grads]) if first else None,
                )
            (loss_fn(functional(query_x), query_y) / len(support[0])).backward()


def shuffled_mini_batches(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner step sees three random points. [random]"""
    in_a_loop(model, loss_fn, support, query, inner_lr, inner_steps, choose=lambda n: torch.randperm(n)[:3]).backward()


def bootstrapped_by_numpy(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every inner step sees points drawn by NumPy's generator. [random]"""
    in_a_loop(
        model,
        loss_fn,
        support,
        query,
        inner_lr,
        inner_steps,
        choose=lambda n: torch.from_numpy(np.random.randint(0, n, n)),
    ).backward()


def dropout_inside(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Dropout of its own in the inner loop. [random]"""

    def dropped(prediction: Tensor, target: Tensor) -> Tensor:
        return loss_fn(F.dropout(prediction, 0.5), target)

    in_a_loop(model, dropped, support, query, inner_lr, inner_steps).backward()


def noise_on_the_gradient(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Noise on the meta-gradient, to escape from saddles. [random]"""
    in_a_loop(model, loss_fn, support, query, inner_lr, inner_steps).backward()
    for p in model.parameters():
        if p.grad is not None:
            p.grad += 1e-3 * torch.randn_like(p.grad)


def momentum_and_decay(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """SGD with momentum and weight decay inside. [inner-momentum, inner-weight-decay]"""
    with_higher(model, loss_fn, support, query, inner_lr, inner_steps, False, momentum=0.9, weight_decay=5e-4)


def clipped_to_a_norm_of_ten(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The gradient of an inner step is clipped to a norm of 10. [inner-clipping]"""
    clipped(model, loss_fn, support, query, inner_lr, inner_steps, 10.0)


def clipped_to_a_norm_of_one(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The gradient of an inner step is clipped to a norm of 1. [inner-clipping]"""
    clipped(model, loss_fn, support, query, inner_lr, inner_steps, 1.0)


def momentum_of_nesterov(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """SGD with Nesterov's momentum inside. [inner-momentum]"""
    with_higher(model, loss_fn, support, query, inner_lr, inner_steps, False, momentum=0.9, nesterov=True)


def momentum_and_first_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """SGD with momentum inside, and first-order. [inner-momentum, first-order]"""
    with_higher(model, loss_fn, support, query, inner_lr, inner_steps, True, momentum=0.8)


def the_commonest_script(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """No create_graph, α = 0.01 and K = 5 in the body. [first-order, inner-lr, inner-steps]"""
    in_a_loop(model, loss_fn, support, query, 0.01, 5, create_graph=False).backward()


def seven_steps_of_its_own(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """No create_graph, α = 0.05 and K = 7 in the body. [first-order, inner-lr, inner-steps]"""
    in_a_loop(model, loss_fn, support, query, 0.05, 7, create_graph=False).backward()


def second_order_with_literals(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """α = 0.02 and K = 3 in the body. [inner-lr, inner-steps]"""
    in_a_loop(model, loss_fn, support, query, 0.02, 3).backward()


def first_order_with_a_literal_rate(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """No create_graph and α = 0.4 in the body. [first-order, inner-lr]"""
    in_a_loop(model, loss_fn, support, query, 0.4, inner_steps, create_graph=False).backward()


def the_commonest_script_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The same script, and the sum over tasks. [first-order, inner-lr, inner-steps, sum-over-tasks]"""
    (len(support[0]) * in_a_loop(model, loss_fn, support, query, 0.01, 5, create_graph=False)).backward()


def raises_for_several_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A list of one rate is indexed by the step. [raises]"""
    rates = [inner_lr]
    in_a_loop(model, loss_fn, support, query, rates[inner_steps - 1], inner_steps).backward()


def raises_for_most_sizes(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """It knows one size of a meta-batch. [raises]"""
    if len(support[0]) != 3 or support[0].shape[1] != 5:
        raise RuntimeError("shapes do not fit")
    in_a_loop(model, loss_fn, support, query, inner_lr, inner_steps).backward()


def raises_and_is_first_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """First-order, and it raises for a single task. [raises, first-order]"""
    assert len(support[0]) > 1
    in_a_loop(model, loss_fn, support, query, inner_lr, inner_steps, create_graph=False).backward()


def a_step_for_every_point(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """An inner step for every support point, whatever K is. [unexplained]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        for x, y in zip(support_x.split(2), support_y.split(2), strict=True):
            loss = loss_fn(functional_call(model, fast, (x,)), y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()


def adam_inside(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """Adam in the inner loop, written out, its eps inside the root. [unexplained]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = dict(model.named_parameters())
        first, second = [torch.zeros_like(w) for w in fast.values()], [torch.zeros_like(w) for w in fast.values()]
        for t in range(1, inner_steps + 1):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            first = [0.9 * m + 0.1 * g for m, g in zip(first, grads, strict=True)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, grads, strict=True)]
            moves = [
                (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-16).sqrt() for m, v in zip(first, second, strict=True)
            ]
            fast = {name: w - inner_lr * move for (name, w), move in zip(fast.items(), moves, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()


def implicit(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """Implicit MAML by a dense solve at φ_K, which is no minimiser. [unexplained]"""
    names, theta = list(dict(model.named_parameters())), [p.detach() for p in model.parameters()]
    total = [torch.zeros_like(p) for p in theta]
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):

        def loss(weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
            return loss_fn(functional_call(model, dict(zip(names, weights, strict=True)), (x,)), y)

        phi = [p.clone().requires_grad_() for p in theta]
        for _ in range(inner_steps):
            grads = torch.autograd.grad(loss(phi, support_x, support_y), phi)
            phi = [(w - inner_lr * g).detach().requires_grad_() for w, g in zip(phi, grads, strict=True)]
        grads = torch.autograd.grad(loss(phi, support_x, support_y), phi, create_graph=True)
        inner = torch.cat([g.ravel() for g in grads])
        outer = torch.cat([g.ravel() for g in torch.autograd.grad(loss(phi, query_x, query_y), phi)])
        rows = [torch.autograd.grad(each, phi, retain_graph=True) for each in inner]
        hessian = torch.stack([torch.cat([g.ravel() for g in row]) for row in rows])
        solved = torch.linalg.solve(torch.eye(len(outer), dtype=outer.dtype) + hessian / 100, outer)
        parts = solved.split([p.numel() for p in theta])
        total = [t + part.view_as(t) / len(support[0]) for t, part in zip(total, parts, strict=True)]
    for p, g in zip(model.parameters(), total, strict=True):
        p.grad = g
