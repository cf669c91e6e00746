"""Which points and which loss: second-order MAML where a loss looks at the wrong ones."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def sgd(loss: Tensor, fast: Params, lr: float) -> Params:
    """One differentiable step of gradient descent."""
    grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
    return {name: w - lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}


def adapt(model: nn.Module, loss_fn: Loss, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """The fast weights of one task."""
    fast = trainable(model)
    for _ in range(steps):
        fast = sgd(loss_fn(functional_call(model, fast, (x,)), y), fast, lr)
    return fast


def evaluates_the_model(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Fast weights are made, but the query loss is taken with the model itself. [no-adaptation]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            fast = sgd(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast, inner_lr)
        losses.append(loss_fn(model(query_x), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def rebinds_the_loop_variable(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The update gives the loop variable a new value, and the fast weights none. [no-adaptation]"""
    names, theta = zip(*trainable(model).items(), strict=True)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = [p.clone() for p in theta]
        for _ in range(inner_steps):
            prediction = functional_call(model, dict(zip(names, fast, strict=True)), (support_x,))
            grads = torch.autograd.grad(loss_fn(prediction, support_y), fast, create_graph=True)
            for w, g in zip(fast, grads, strict=True):
                w = w - inner_lr * g
        losses.append(loss_fn(functional_call(model, dict(zip(names, fast, strict=True)), (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def adapts_a_copy_and_forgets_it(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A copy of the model is trained with SGD, and then the query loss is taken with the original. [no-adaptation]"""
    tasks = len(support[0])
    for task in range(tasks):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support[0][task]), support[1][task]).backward()
            optimizer.step()
        (loss_fn(model(query[0][task]), query[1][task]) / tasks).backward()


def outer_loss_on_support(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is computed on the support points. [outer-on-support]"""
    losses = []
    for x, y in zip(*support, strict=True):
        fast = adapt(model, loss_fn, x, y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (x,)), y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def query_read_from_support(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Inside vmap the wrong names go into the second loss. [outer-on-support, batch-norm]"""

    def task_loss(theta: Params, x_spt: Tensor, y_spt: Tensor, x_qry: Tensor, y_qry: Tensor) -> Tensor:
        def support_loss(fast: Params) -> Tensor:
            return loss_fn(functional_call(model, fast, (x_spt,)), y_spt)

        fast = theta
        for _ in range(inner_steps):
            grads = torch.func.grad(support_loss)(fast)
            fast = {name: fast[name] - inner_lr * grads[name] for name in fast}
        return loss_fn(functional_call(model, fast, (x_spt,)), y_spt)

    theta = trainable(model)
    loss = torch.vmap(task_loss, in_dims=(None, 0, 0, 0, 0))(theta, *support, *query).mean()
    for p, g in zip(theta.values(), torch.autograd.grad(loss, list(theta.values())), strict=True):
        p.grad = g
    return loss.detach()


def outer_loss_on_all_points(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is the mean over support and query points together. [outer-on-both]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        x, y = torch.cat([support_x, query_x]), torch.cat([support_y, query_y])
        losses.append(loss_fn(functional_call(model, fast, (x,)), y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def outer_loss_is_both_losses_summed(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The outer loss is the support loss plus the query loss, after adaptation. [outer-on-both]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
        losses[-1] = losses[-1] + loss_fn(functional_call(model, fast, (support_x,)), support_y)
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def outer_loss_is_both_losses_averaged(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Both losses after adaptation land in the list whose mean is taken. [outer-on-both]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        for x, y in ((support_x, support_y), (query_x, query_y)):
            losses.append(loss_fn(functional_call(model, fast, (x,)), y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def support_and_query_swapped(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The two sets are unpacked in the wrong order. [swapped]"""
    losses = []
    for query_x, query_y, support_x, support_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def inner_loop_on_all_points(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The data were put together before they were split: the inner loop sees the query points too. [inner-on-both]"""
    every_x, every_y = torch.cat([support[0], query[0]], dim=1), torch.cat([support[1], query[1]], dim=1)
    losses = []
    for all_x, all_y, query_x, query_y in zip(every_x, every_y, *query, strict=True):
        fast = adapt(model, loss_fn, all_x, all_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def inner_loop_on_both_losses(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop descends on the support loss plus the query loss. [inner-on-both]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            support_loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            query_loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
            fast = sgd(support_loss + query_loss, fast, inner_lr)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def inner_loop_on_the_mean_of_both_losses(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop descends on the average of support and query loss. [inner-on-both]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            both = [
                loss_fn(functional_call(model, fast, (x,)), y) for x, y in ((support_x, support_y), (query_x, query_y))
            ]
            fast = sgd(torch.stack(both).mean(), fast, inner_lr)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def squared_error_everywhere(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The mean squared error of the tutorial is still written out in both loops. [loss-ignored]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, F.mse_loss, support_x, support_y, inner_lr, inner_steps)
        losses.append(F.mse_loss(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def squared_error_inside(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop descends on the mean squared error, whatever the loss is. [two-losses]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, F.mse_loss, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def squared_error_outside(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The query loss is the mean squared error, whatever the loss is. [two-losses]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, inner_steps)
        losses.append(((functional_call(model, fast, (query_x,)) - query_y) ** 2).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def huber_loss_everywhere(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """A robust loss of one's own stands in both loops. [loss-ignored]"""
    criterion = nn.SmoothL1Loss()
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, criterion, support_x, support_y, inner_lr, inner_steps)
        losses.append(criterion(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()
