"""Second-order MAML with torch.func, as a function for `maml-bench audit`: all tasks at once."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap

Pair = tuple[Tensor, Tensor]


def meta_step(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    support: Pair,
    query: Pair,
    inner_lr: float,
    inner_steps: int,
) -> Tensor:
    """Leave the meta-gradient, the mean over tasks, in `.grad` and return the query loss."""

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss_fn(functional_call(model, weights, (x,)), y)

    def adapted_loss(
        theta: dict[str, Tensor], support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> Tensor:
        fast = theta
        for _ in range(inner_steps):
            grads = grad(loss)(fast, support_x, support_y)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        return loss(fast, query_x, query_y)

    theta = {name: p.detach() for name, p in model.named_parameters()}
    grads, losses = vmap(grad_and_value(adapted_loss), in_dims=(None, 0, 0, 0, 0))(theta, *support, *query)
    for name, p in model.named_parameters():
        p.grad = grads[name].mean(dim=0)  # with sum(dim=0) the meta-gradient would grow with the number of tasks
    return losses.mean()
