"""Right `meta_step`s that do something beside, or that are right in another way.

In brackets: what they compute, and after a semicolon the notes that they have to get.
"""

import copy
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]
KEPT: list[Tensor] = []


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def leaves(weights: Params) -> Params:
    """The same values as new leaves."""
    return {name: w.detach().clone().requires_grad_() for name, w in weights.items()}


def derivative(loss: Tensor, weights: Params, create_graph: bool = False) -> Params:
    """The gradient of a loss; zeros for weights that it does not depend on."""
    grads = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(weights.items(), grads, strict=True)}


def set_grads(model: nn.Module, per_task: list[Params]) -> None:
    """Put the mean over tasks into `.grad`."""
    for name, p in trainable(model).items():
        p.grad = torch.stack([grads[name] for grads in per_task]).mean(0).detach()


def query_loss(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The mean over tasks of the loss after adaptation, with its graph."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = derivative(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast, create_graph=True)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses).mean()


def in_single_precision(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Everything is computed in float32 and converted back. [maml; single-precision]"""
    theta = {name: p.detach().float().requires_grad_() for name, p in trainable(model).items()}
    single = copy.deepcopy(model).float()
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = theta
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(single, fast, (support_x.float(),)), support_y.float())
            grads = derivative(loss, fast, create_graph=True)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(single, fast, (query_x.float(),)), query_y.float()))
    for name, g in derivative(torch.stack(losses).mean(), theta).items():
        p = trainable(model)[name]
        p.grad = g.to(p.dtype)


def finite_differences(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A sweep whose Hessian-vector products are central differences of gradients. [maml; finite-differences]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):

        def slope(weights: Params, x: Tensor = support_x, y: Tensor = support_y) -> Params:
            fast = leaves(weights)
            return derivative(loss_fn(functional_call(model, fast, (x,)), y), fast)

        path = [{name: p.detach() for name, p in trainable(model).items()}]
        for _ in range(inner_steps):
            g = slope(path[-1])
            path.append({name: w - inner_lr * g[name] for name, w in path[-1].items()})
        v = slope(path.pop(), query_x, query_y)
        for w in reversed(path):
            r = 1e-5 / max(float(torch.cat([a.flatten() for a in v.values()]).norm()), 1e-30)
            ahead = slope({name: w[name] + r * v[name] for name in w})
            behind = slope({name: w[name] - r * v[name] for name in w})
            v = {name: v[name] - inner_lr * (ahead[name] - behind[name]) / (2 * r) for name in v}
        per_task.append(v)
    set_grads(model, per_task)


def first_order_by_leaves(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """First-order MAML on purpose: the query gradient at weights without a past. [fomaml]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = leaves(trainable(model))
        for _ in range(inner_steps):
            grads = derivative(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast)
            fast = leaves({name: w - inner_lr * grads[name] for name, w in fast.items()})
        per_task.append(derivative(loss_fn(functional_call(model, fast, (query_x,)), query_y), fast))
    set_grads(model, per_task)


def first_order_by_displacement(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """First-order MAML on purpose: the model plus a displacement that is a constant. [fomaml]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        moved = {name: torch.zeros_like(p) for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            fast = leaves({name: p + moved[name] for name, p in trainable(model).items()})
            grads = derivative(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast)
            moved = {name: moved[name] - inner_lr * grads[name] for name in moved}
        fast = {name: p + moved[name] for name, p in trainable(model).items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def reptile(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """The mean way that the inner loop went, by an ordinary optimizer on copies. [reptile]"""
    per_task = []
    for x, y in zip(*support, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(trainable(learner).values(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(x), y).backward()
            optimizer.step()
        after = trainable(learner)
        per_task.append({name: p - after[name] for name, p in trainable(model).items()})
    set_grads(model, per_task)


def left_in_eval_mode(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The model is put into eval mode and left there. [maml; modes-changed, breaks-contract]"""
    model.eval()
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    loss.backward()
    return loss.detach()


def gradients_left_disabled(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Gradients are enabled at the start and disabled for good at the end. [maml; grad-mode-changed]"""
    torch.set_grad_enabled(True)
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    loss.backward()
    torch.set_grad_enabled(False)
    return loss.detach()


def tasks_in_random_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Tasks are done in a random order, and averaged in theirs. [maml; breaks-contract]"""
    theta = trainable(model)
    per_task: list[Params] = [{} for _ in support[0]]
    for task in torch.randperm(len(support[0])).tolist():
        one = slice(task, task + 1)
        pairs = ((support[0][one], support[1][one]), (query[0][one], query[1][one]))
        per_task[task] = derivative(query_loss(model, loss_fn, *pairs, inner_lr, inner_steps), theta)
    set_grads(model, per_task)


def losses_kept_with_their_graphs(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The losses of all calls are kept for a plot, not detached, and so are their graphs. [maml; memory-grows]"""
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    loss.backward(retain_graph=True)
    KEPT.append(loss)
    return loss.detach()


def one_step_by_clones(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The tutorial notebook's way: clones of the weights, moved by `.grad` of the model. [maml; steps-restricted]"""
    if inner_steps != 1:
        raise ValueError("this scheme is defined for one inner step only")
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        clones = {name: p.clone() for name, p in trainable(model).items()}
        loss_fn(functional_call(model, clones, (support_x,)), support_y).backward(create_graph=True)
        for name, p in trainable(model).items():
            if p.grad is not None:
                clones[name] = clones[name] - inner_lr * p.grad
            p.grad = None
        losses.append(loss_fn(functional_call(model, clones, (query_x,)), query_y))
    loss = torch.stack(losses).sum() / len(losses)
    loss.backward()
    return loss.detach()


def noisy(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> Tensor:
    """The last digits differ from call to call, as with atomic additions. [maml; not-deterministic]"""
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    loss.backward()
    for p in trainable(model).values():
        if p.grad is not None:
            noise = [random.SystemRandom().gauss(0, 1e-15) for _ in range(p.numel())]
            p.grad *= 1 + torch.tensor(noise, dtype=p.dtype).view_as(p)
    return loss.detach()
