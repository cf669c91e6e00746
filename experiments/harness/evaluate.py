"""How adapted models are evaluated: by the harness, with plain gradient descent, for everyone alike."""

import torch
from torch import Tensor, nn

from baselines.contract import InnerLoop, Loss, Stateless, TaskBatch, trainable


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
