"""How adapted models are evaluated: by the harness, with plain gradient descent, for everyone alike."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from baselines.contract import InnerLoop, Loss, Params, Stateless, TaskBatch, trainable


def heldout_losses(model: nn.Module, loss: Loss, inner: InnerLoop, batch: TaskBatch) -> tuple[Tensor, Tensor]:
    """Compute query losses before and after adaptation, (tasks,) each; the model is left as it was."""
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


class Adaptation:
    """Plain gradient descent on a task, with everything it passes; for networks that torch.func takes.

    The model is left as it was. `heldout_losses` serves any module.
    """

    def __init__(self, model: nn.Module, loss: Loss, inner: InnerLoop) -> None:
        self.loss, self.inner = loss, inner
        self.network = Stateless(model)
        self.theta = {name: p.detach() for name, p in trainable(model).items()}
        self.told = range(inner.steps + 1)  # the steps after which predictions and losses are told

    def losses(self, batch: TaskBatch, together: int = 500) -> Tensor:
        """Compute query losses after 0 … `inner.steps` steps, (steps + 1, tasks); so many tasks go `together`."""

        def one(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            path = self._path(support_x, support_y)
            return torch.stack([self.loss(self.network(phi, query_x), query_y) for phi in path])

        chunks = zip(*(part.split(together) for part in batch), strict=True)
        with torch.no_grad():
            return torch.cat([vmap(one)(*chunk) for chunk in chunks]).T

    def predictions(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, alone: bool = False) -> Tensor:
        """Predict for one task after 0 … `inner.steps` gradient steps, (steps + 1, points, outputs)."""
        with torch.no_grad():
            path = self._path(support_x, support_y)
            return torch.stack([predictions(self.network, phi, support_x, query_x, alone) for phi in path])

    def _path(self, x: Tensor, y: Tensor) -> Iterator[Params]:
        """Yield the weights φ₀ = θ to φ_K."""

        def support_loss(phi: Params) -> Tensor:
            return self.loss(self.network(phi, x), y)

        phi = self.theta
        yield phi
        for _ in range(self.inner.steps):
            grads = grad(support_loss)(phi)
            phi = {name: p - self.inner.lr * grads[name] for name, p in phi.items()}
            yield phi


def predictions(network: Stateless, phi: Params, support_x: Tensor, query_x: Tensor, alone: bool) -> Tensor:
    """Predict with the weights φ, (points, outputs).

    Where a network normalises by the points at hand, query points help each other (transduction), unless each is
    predicted `alone`, in the company of the support points only (Nichol et al. 2018, section 6.1).
    """
    if not alone:
        return network(phi, query_x)
    return vmap(lambda x: network(phi, torch.cat([support_x, x[None]]))[-1])(query_x)
