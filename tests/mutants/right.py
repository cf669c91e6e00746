"""Right implementations, most of them written in odd ways, which no audit may accuse.

In brackets: what they compute, and after a semicolon the notes that they have to get.
"""

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


def unrolled(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> Tensor:
    """Differentiates through the unrolled inner loop. [maml]"""
    loss = query_loss(model, loss_fn, support, query, inner_lr, inner_steps)
    loss.backward()
    return loss.detach()


def one_backward_per_task(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> float:
    """Every task goes backward by itself, and the sum is divided at the end. [maml]"""
    total = 0.0
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            grads = derivative(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast, create_graph=True)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        loss = loss_fn(functional_call(model, fast, (query_x,)), query_y)
        loss.backward()
        total += loss.item()
    for p in trainable(model).values():
        if p.grad is not None:
            p.grad.div_(len(support[0]))
    return total / len(support[0])


def copy_with_tensors_for_parameters(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A deep copy of the model whose parameters are replaced by tensors with a past. [maml]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = copy.deepcopy(model)

        def put(fast: Params, learner: nn.Module = learner) -> None:
            for name, w in fast.items():
                path, _, attribute = name.rpartition(".")
                module = learner.get_submodule(path)
                module._parameters.pop(attribute, None)
                setattr(module, attribute, w)

        fast = {name: p.clone() for name, p in trainable(model).items()}
        put(fast)
        for _ in range(inner_steps):
            grads = derivative(loss_fn(learner(support_x), support_y), fast, create_graph=True)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
            put(fast)
        losses.append(loss_fn(learner(query_x), query_y))
    torch.stack(losses).mean().backward()


def vmapped(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> Tensor:
    """`grad` of a function that calls `grad`, for all tasks at once. [maml]"""

    def task_loss(theta: Params, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        fast = theta
        for _ in range(inner_steps):
            grads = torch.func.grad(lambda w: loss_fn(functional_call(model, w, (support_x,)), support_y))(fast)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        return loss_fn(functional_call(model, fast, (query_x,)), query_y)

    theta = {name: p.detach() for name, p in trainable(model).items()}
    gradient = torch.func.grad_and_value(task_loss)
    grads, losses = torch.vmap(gradient, in_dims=(None, 0, 0, 0, 0))(theta, *support, *query)
    for name, p in trainable(model).items():
        p.grad = grads[name].mean(dim=0)
    return losses.mean()


def forward_over_reverse(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A reverse sweep over the stored weights, with Hessian-vector products by `jvp` of `grad`. [maml]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):

        def inner(w: Params, x: Tensor = support_x, y: Tensor = support_y) -> Tensor:
            return loss_fn(functional_call(model, w, (x,)), y)

        def outer(w: Params, x: Tensor = query_x, y: Tensor = query_y) -> Tensor:
            return loss_fn(functional_call(model, w, (x,)), y)

        path = [{name: p.detach() for name, p in trainable(model).items()}]
        for _ in range(inner_steps):
            g = torch.func.grad(inner)(path[-1])
            path.append({name: w - inner_lr * g[name] for name, w in path[-1].items()})
        v = torch.func.grad(outer)(path.pop())
        while path:
            _, hv = torch.func.jvp(torch.func.grad(inner), (path.pop(),), (v,))
            v = {name: v[name] - inner_lr * hv[name] for name in v}
        per_task.append(v)
    set_grads(model, per_task)


def double_backward_sweep(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A reverse sweep by hand, with the gradient of gradient times vector; no graph through the inner loop. [maml]"""
    per_task = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast, tape = leaves(trainable(model)), []
        for _ in range(inner_steps):
            grads = derivative(loss_fn(functional_call(model, fast, (support_x,)), support_y), fast, create_graph=True)
            tape.append((fast, grads))
            fast = leaves({name: w - inner_lr * grads[name] for name, w in fast.items()})
        v = derivative(loss_fn(functional_call(model, fast, (query_x,)), query_y), fast)
        for weights, grads in reversed(tape):
            along = sum((grads[name] * v[name]).sum() for name in v)
            if along.requires_grad:  # not where the loss is linear in the weights
                hv = derivative(along, weights)
                v = {name: v[name] - inner_lr * hv[name] for name in v}
        per_task.append(v)
    set_grads(model, per_task)


def whole_matrices(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The product of the matrices I − αH, from forward mode, times the query gradient. [maml]"""
    theta = trainable(model)
    sizes = [p.numel() for p in theta.values()]

    def call(vector: Tensor, x: Tensor) -> Tensor:
        parts = torch.split(vector, sizes)
        return functional_call(model, {n: w.view_as(p) for (n, p), w in zip(theta.items(), parts, strict=True)}, (x,))

    total = torch.zeros(())
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        phi = torch.cat([p.detach().flatten() for p in theta.values()])
        jacobian = torch.eye(len(phi), dtype=phi.dtype)
        for _ in range(inner_steps):

            def gradient(vector: Tensor, x: Tensor = support_x, y: Tensor = support_y) -> Tensor:
                return torch.func.grad(lambda w: loss_fn(call(w, x), y))(vector)

            step = torch.eye(len(phi), dtype=phi.dtype) - inner_lr * torch.func.jacfwd(gradient)(phi)
            jacobian = step @ jacobian
            phi = phi - inner_lr * gradient(phi)
        at_the_end = torch.func.grad(lambda w, x=query_x, y=query_y: loss_fn(call(w, x), y))(phi)
        total = total + jacobian.T @ at_the_end / len(support[0])
    for p, g in zip(theta.values(), torch.split(total, sizes), strict=True):
        p.grad = g.view_as(p).clone()


def model_walks_and_returns(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The model itself walks the inner loop and the sweep back, and gets its very weights again. [maml]"""
    theta = list(trainable(model).values())
    start = [p.detach().clone() for p in theta]
    total = [torch.zeros_like(p) for p in theta]

    def move(weights: list[Tensor]) -> None:
        with torch.no_grad():
            for p, w in zip(theta, weights, strict=True):
                p.copy_(w)

    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        path = [start]
        for _ in range(inner_steps):
            grads = torch.autograd.grad(loss_fn(model(support_x), support_y), theta)
            path.append([w - inner_lr * g for w, g in zip(path[-1], grads, strict=True)])
            move(path[-1])
        v = torch.autograd.grad(loss_fn(model(query_x), query_y), theta)
        for weights in reversed(path[:-1]):
            move(weights)
            grads = torch.autograd.grad(loss_fn(model(support_x), support_y), theta, create_graph=True)
            hv = torch.autograd.grad(grads, theta, v, allow_unused=True, materialize_grads=True)
            v = [a - inner_lr * b for a, b in zip(v, hv, strict=True)]
        total = [t + a / len(support[0]) for t, a in zip(total, v, strict=True)]
        move(start)
    for p, t in zip(theta, total, strict=True):
        p.grad = t


def graphs_kept_everywhere(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Every call of autograd keeps and creates graphs, needed or not, and gradients of losses not used. [maml]"""
    theta = trainable(model)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = theta
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            torch.autograd.grad(loss, list(theta.values()), retain_graph=True, create_graph=True, allow_unused=True)
            grads = derivative(loss, fast, create_graph=True)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    for name, g in derivative(loss, theta, create_graph=True).items():
        theta[name].grad = g.detach()
    return loss.detach()


def with_learn2learn(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """learn2learn 0.2.0's MAML, as its examples have it. [maml]"""
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

    maml = MAML(model, lr=inner_lr, allow_nograd=any(not p.requires_grad for p in model.parameters()))
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        learner = maml.clone()
        for _ in range(inner_steps):
            learner.adapt(loss_fn(learner(support_x), support_y))
        loss_fn(learner(query_x), query_y).backward()
    for p in trainable(model).values():
        p.grad.mul_(1.0 / len(support[0]))


def with_higher(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """higher 0.2.1's inner loop around SGD, as its examples have it. [maml]"""
    import higher

    optimizer = torch.optim.SGD(model.parameters(), lr=inner_lr)
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (learner, inner):
            for _ in range(inner_steps):
                inner.step(loss_fn(learner(support_x), support_y))
            (loss_fn(learner(query_x), query_y) / len(support[0])).backward()
