"""How adapted models are evaluated: by the harness, with plain gradient descent, for everyone alike."""

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from baselines.contract import InnerLoop, Loss, Params, Stateless, TaskBatch, trainable


def heldout_losses(model: nn.Module, loss: Loss, inner: InnerLoop, batch: TaskBatch) -> tuple[Tensor, Tensor]:
    """Query losses before and after adaptation, (tasks,) each; the model is left as it was."""
    theta = {name: p.detach() for name, p in trainable(model).items()}
    network = Stateless(model)
    before, after = [], []
    for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
        # buffers are copied, or the call would update running statistics of the model itself
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        phi = theta
        for _ in range(inner.steps):
            phi = {name: p.detach().requires_grad_() for name, p in phi.items()}
            support_loss = loss(network(phi | buffers, support_x), support_y)
            if support_loss.requires_grad:  # else everything is frozen
                grads = torch.autograd.grad(support_loss, list(phi.values()), allow_unused=True)
                steps = zip(phi.items(), grads, strict=True)
                phi = {name: p if g is None else p - inner.lr * g for (name, p), g in steps}
        with torch.no_grad():
            before.append(loss(network(theta | buffers, query_x), query_y))
            after.append(loss(network(phi | buffers, query_x), query_y))
    return torch.stack(before), torch.stack(after)


def sketch(model: nn.Module, loss: Loss, inner: InnerLoop, batch: TaskBatch, task: int) -> list[Tensor]:
    """One task's predictions at its query points after 0 … `inner.steps` gradient steps, (points, 1) each."""
    support_x, support_y, query_x, _ = (part[task] for part in batch)
    theta = {name: p.detach() for name, p in trainable(model).items()}
    network = Stateless(model)
    phi, shown = theta, [network(theta, query_x)]
    for _ in range(inner.steps):
        grads = grad(lambda phi: loss(network(phi, support_x), support_y))(phi)
        phi = {name: p - inner.lr * grads[name] for name, p in phi.items()}
        shown.append(network(phi, query_x))
    return shown


def adaptation(model: nn.Module, loss: Loss, inner: InnerLoop, batch: TaskBatch, together: int = 500) -> Tensor:
    """Query losses after 0 … `inner.steps` gradient steps, (steps + 1, tasks); the model is left as it was.

    So many tasks go `together` through `vmap`, which the built-in networks take; `heldout_losses` serves any module.
    """
    theta = {name: p.detach() for name, p in trainable(model).items()}
    network = Stateless(model)

    def task_loss(phi: Params, x: Tensor, y: Tensor) -> Tensor:
        return loss(network(phi, x), y)

    def one(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        phi, losses = theta, [task_loss(theta, query_x, query_y)]
        for _ in range(inner.steps):
            grads = grad(task_loss)(phi, support_x, support_y)
            phi = {name: p - inner.lr * grads[name] for name, p in phi.items()}
            losses.append(task_loss(phi, query_x, query_y))
        return torch.stack(losses)

    chunks = zip(*(part.split(together) for part in batch), strict=True)
    with torch.no_grad():
        return torch.cat([vmap(one)(*chunk) for chunk in chunks]).T
