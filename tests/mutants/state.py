"""What stays from one call to the next, or from the inner loop to the outer one."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]

LEARNERS: dict[nn.Module, nn.Module] = {}
COPIES: dict[nn.Module, nn.Module] = {}
FIRST: dict[nn.Module, tuple[Pair, Pair]] = {}
NEXT: dict[nn.Module, tuple[Pair, Pair]] = {}
VELOCITY: dict[Tensor, Tensor] = {}
START: dict[nn.Module, Params] = {}


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def query_losses(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The loss of every task after adaptation, (tasks,)."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    return torch.stack(losses)


def learner_never_cleared(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """A learner is kept between calls, gets the new weights, and its `.grad` is never zeroed. [earlier-calls]"""
    if model not in LEARNERS:
        LEARNERS[model] = copy.deepcopy(model)
    learner = LEARNERS[model]
    learner.load_state_dict(model.state_dict())
    loss = query_losses(learner, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for p, q in zip(model.parameters(), learner.parameters(), strict=True):
        p.grad = None if q.grad is None else q.grad.clone()
    return loss.detach()


def add_to(grads: dict[Tensor, Tensor], total: dict[Tensor, Tensor] = {}) -> dict[Tensor, Tensor]:  # noqa: B006
    """Add gradients to a total that starts empty, or so its author thought."""
    for p, g in grads.items():
        total[p] = total[p] + g if p in total else g
    return total


def default_argument_remembers(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Gradients are added up in a dictionary that is a default argument. [earlier-calls]"""
    losses = query_losses(model, loss_fn, support, query, inner_lr, inner_steps)
    theta = list(trainable(model).values())
    for loss in losses:
        grads = torch.autograd.grad(loss / len(losses), theta, retain_graph=True)
        total = add_to(dict(zip(theta, grads, strict=True)))
    for p in theta:
        p.grad = total[p].clone()


def outer_momentum(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer optimizer's momentum of 0.9 is applied to the gradient already. [earlier-calls]"""
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for p in trainable(model).values():
        VELOCITY[p] = p.grad = 0.9 * VELOCITY.get(p, torch.zeros_like(p)) + p.grad
    return loss.detach()


def inner_backward_left_behind(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner `backward` also reaches the model's `.grad`, and nobody clears it. [inner-gradients]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            for w in fast.values():
                w.retain_grad()
            loss_fn(functional_call(model, fast, (support_x,)), support_y).backward(create_graph=True)
            fast = {name: w - inner_lr * w.grad for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def inner_gradients_divided_along(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """What `backward` left of inner and outer losses is divided by the number of tasks. [inner-gradients]"""
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            loss.backward(retain_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        loss_fn(functional_call(model, fast, (query_x,)), query_y).backward()
    for p in trainable(model).values():
        p.grad /= len(support[0])


def first_batch_again(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The batch is kept at the first call and used ever after. [stale-batch]"""
    support, query = FIRST.setdefault(model, (support, query))
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    return loss.detach()


def one_batch_late(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """A prefetch buffer hands out the previous call's batch. [stale-batch]"""
    batch = NEXT.get(model, (support, query))
    NEXT[model] = (support, query)
    loss = query_losses(model, loss_fn, *batch, inner_lr, inner_steps).mean()
    loss.backward()
    return loss.detach()


def learner_built_once(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop starts from a copy that was made at the first call. [stale-parameters]"""
    learner = COPIES.setdefault(model, copy.deepcopy(model))
    learner.zero_grad()
    loss = query_losses(learner, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    for p, q in zip(model.parameters(), learner.parameters(), strict=True):
        p.grad = None if q.grad is None else q.grad.clone()
    return loss.detach()


def functional_parameters_captured(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The model was made functional once, with the parameters it had then. [stale-parameters]"""
    if model not in START:
        START[model] = {name: p.detach().clone() for name, p in trainable(model).items()}

    def mean_loss(theta: Params) -> Tensor:
        losses = []
        for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):

            def inner(w: Params, x: Tensor = support_x, y: Tensor = support_y) -> Tensor:
                return loss_fn(functional_call(model, w, (x,)), y)

            fast = theta
            for _ in range(inner_steps):
                grads = torch.func.grad(inner)(fast)
                fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
            losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
        return torch.stack(losses).mean()

    grads = torch.func.grad(mean_loss)(START[model])
    for name, p in trainable(model).items():
        p.grad = grads[name]


def state_dict_is_no_copy(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> float:
    """To log the adapted loss, the model is trained and "restored" from references to itself. [weights-changed]"""
    query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean().backward()
    before = model.state_dict()
    theta = list(trainable(model).values())
    for _ in range(max(inner_steps, 1)):
        grads = torch.autograd.grad(loss_fn(model(support[0][-1]), support[1][-1]), theta)
        with torch.no_grad():
            for p, g in zip(theta, grads, strict=True):
                p -= inner_lr * g
    adapted = loss_fn(model(query[0][-1]), query[1][-1]).item()
    model.load_state_dict(before)
    return adapted


def outer_step_taken(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer optimizer's step is part of the function. [weights-changed]"""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimizer.zero_grad()
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def restored_from_single_precision(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The weights are put back from a checkpoint in float32, which rounds them. [weights-changed]"""
    checkpoint = {name: value.float() for name, value in model.state_dict().items()}
    loss = query_losses(model, loss_fn, support, query, inner_lr, inner_steps).mean()
    loss.backward()
    model.load_state_dict(checkpoint)
    return loss.detach()
