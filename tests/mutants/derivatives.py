"""What is differentiated: first-order and truncated inner loops, and sweeps with the wrong Hessians."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Params = dict[str, Tensor]


def trainable(model: nn.Module) -> Params:
    """The parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def set_grads(model: nn.Module, per_task: list[Params]) -> None:
    """Put the mean over tasks into `.grad`."""
    for name, p in trainable(model).items():
        p.grad = torch.stack([grads[name] for grads in per_task]).mean(0).detach()


def no_create_graph(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner gradients are taken without create_graph=True, so they are constants. [first-order]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()))
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def retain_graph_is_not_create_graph(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """`retain_graph=True` keeps the graph of the loss, not one of its gradient. [first-order]"""
    theta = trainable(model)
    total = torch.zeros(())
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in theta.items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), retain_graph=True)
            fast = {name: fast[name] - inner_lr * g for name, g in zip(fast, grads, strict=True)}
        total = total + loss_fn(functional_call(model, fast, (query_x,)), query_y)
    (total / len(support[0])).backward()
    return total.detach() / len(support[0])


def gradients_detached(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """A graph of the gradients is made, and cut off in the update. [first-order]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g.detach() for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def data_update(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The fast weights are moved through `.data`, which no graph sees. [first-order]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            for w, g in zip(fast.values(), grads, strict=True):
                w.data -= inner_lr * g.data
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def copy_with_an_optimizer(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A copy of the model is trained with SGD, and its query gradient is moved back to the model. [first-order]"""
    tasks = len(support[0])
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        optimizer.zero_grad()
        loss_fn(learner(query_x), query_y).backward()
        for p, q in zip(model.parameters(), learner.parameters(), strict=True):
            if q.grad is not None:
                p.grad = q.grad / tasks if p.grad is None else p.grad + q.grad / tasks


def model_in_place_and_restored(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The model itself walks the inner loop, gives its query gradient there, and is restored. [first-order]"""
    before = copy.deepcopy(model.state_dict())
    total = {name: torch.zeros_like(p) for name, p in trainable(model).items()}
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        for _ in range(inner_steps):
            model.zero_grad()
            loss_fn(model(support_x), support_y).backward(create_graph=True)
            with torch.no_grad():
                for p in trainable(model).values():
                    p -= inner_lr * p.grad
        model.zero_grad()
        loss_fn(model(query_x), query_y).backward()
        for name, p in trainable(model).items():
            total[name] += p.grad
        model.load_state_dict(before)
    for name, p in trainable(model).items():
        p.grad = total[name] / len(support[0])


def displacement(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The way that the inner loop went stands in `.grad`. [reptile]"""
    per_task = []
    for support_x, support_y in zip(*support, strict=True):
        learner = copy.deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=inner_lr)
        for _ in range(inner_steps):
            optimizer.zero_grad()
            loss_fn(learner(support_x), support_y).backward()
            optimizer.step()
        after = dict(learner.named_parameters())
        per_task.append({name: p.detach() - after[name].detach() for name, p in trainable(model).items()})
    set_grads(model, per_task)


def towards_the_average(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The graph is built and the query loss computed, but `.grad` gets θ less the mean adapted weights. [reptile]"""
    theta = trainable(model)
    mean = {name: torch.zeros_like(p) for name, p in theta.items()}
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = theta
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y).detach())
        mean = {name: m + fast[name].detach() / len(support[0]) for name, m in mean.items()}
    for name, p in theta.items():
        p.grad = p.detach() - mean[name]
    return torch.stack(losses).mean()


def graph_of_the_last_step_only(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """To save memory, only the last inner step keeps its graph. [truncated]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for step in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=step == inner_steps - 1)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def graph_of_the_first_step_only(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Only the first inner step keeps its graph. [truncated]"""
    theta = trainable(model)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        loss = loss_fn(functional_call(model, theta, (support_x,)), support_y)
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        fast = {name: w - inner_lr * g for (name, w), g in zip(theta.items(), grads, strict=True)}
        for _ in range(1, inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()))
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast if inner_steps else theta, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def detached_after_the_first_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The weights after the first step are new leaves, whose gradient is taken for the meta-gradient. [truncated]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        start = fast = {name: p.detach().clone().requires_grad_() for name, p in trainable(model).items()}
        for step in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
            if step == 0:
                start = fast = {name: w.detach().requires_grad_() for name, w in fast.items()}
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        per_task.append(dict(zip(start, torch.autograd.grad(loss, list(start.values())), strict=True)))
    set_grads(model, per_task)


def graph_of_the_last_two_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Truncated back-propagation through the last two inner steps. [truncated]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for step in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            if inner_steps - step > 2:
                grads = tuple(g.detach() for g in grads)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def hessian_of_the_query_loss(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A reverse sweep by hand, whose Hessian-vector products are those of the query loss. [hessian-of-query]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):

        def support_loss(w: Params, x: Tensor = support_x, y: Tensor = support_y) -> Tensor:
            return loss_fn(functional_call(model, w, (x,)), y)

        def query_loss(w: Params, x: Tensor = query_x, y: Tensor = query_y) -> Tensor:
            return loss_fn(functional_call(model, w, (x,)), y)

        path = [{name: p.detach() for name, p in trainable(model).items()}]
        for _ in range(inner_steps):
            g = torch.func.grad(support_loss)(path[-1])
            path.append({name: w - inner_lr * g[name] for name, w in path[-1].items()})
        v = torch.func.grad(query_loss)(path.pop())
        for w in reversed(path):
            _, hv = torch.func.jvp(torch.func.grad(query_loss), (w,), (v,))
            v = {name: v[name] - inner_lr * hv[name] for name in v}
        per_task.append(v)
    set_grads(model, per_task)


def hessian_at_the_meta_parameters(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """Every factor of the product has the Hessian at θ, where the inner loop began. [hessian-at-theta]"""
    theta = trainable(model)
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()))
            with torch.no_grad():
                for w, g in zip(fast.values(), grads, strict=True):
                    w -= inner_lr * g
        v = torch.autograd.grad(loss_fn(functional_call(model, fast, (query_x,)), query_y), list(fast.values()))
        loss = loss_fn(functional_call(model, theta, (support_x,)), support_y)
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for _ in range(inner_steps):
            hv = torch.autograd.grad(grads, list(theta.values()), v, retain_graph=True)
            v = tuple(a - inner_lr * b for a, b in zip(v, hv, strict=True))
        per_task.append(dict(zip(theta, v, strict=True)))
    set_grads(model, per_task)


def factors_in_forward_order(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The sweep over the stored weights runs from the first step to the last. [reversed-factors]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.detach().clone().requires_grad_() for name, p in trainable(model).items()}
        tape = []
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            tape.append((fast, grads))
            fast = {
                name: (w - inner_lr * g).detach().requires_grad_()
                for (name, w), g in zip(fast.items(), grads, strict=True)
            }
        v = torch.autograd.grad(loss_fn(functional_call(model, fast, (query_x,)), query_y), list(fast.values()))
        for weights, grads in tape:
            hv = torch.autograd.grad(grads, list(weights.values()), v)
            v = tuple(a - inner_lr * b for a, b in zip(v, hv, strict=True))
        per_task.append(dict(zip(fast, v, strict=True)))
    set_grads(model, per_task)
