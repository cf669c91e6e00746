"""What an inner step does: another size, another number, another rule than plain gradient descent."""

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


def gradients(model: nn.Module, loss_fn: Loss, fast: Params, x: Tensor, y: Tensor) -> Params:
    """The gradient of one task's loss by its fast weights, with its graph."""
    loss = loss_fn(functional_call(model, fast, (x,)), y)
    return dict(zip(fast, torch.autograd.grad(loss, list(fast.values()), create_graph=True), strict=True))


def adapt(model: nn.Module, loss_fn: Loss, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """The fast weights of one task."""
    fast = trainable(model)
    for _ in range(steps):
        grads = gradients(model, loss_fn, fast, x, y)
        fast = {name: w - lr * grads[name] for name, w in fast.items()}
    return fast


def learning_rate_written_in(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner step size is 0.01, whatever is asked. [inner-lr]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w - 0.01 * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def half_the_learning_rate(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loss has a factor of one half, as in textbooks, and the outer one has none. [inner-lr]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, lambda p, t: loss_fn(p, t) / 2, support_x, support_y, inner_lr, inner_steps)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def learning_rate_applied_twice(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The gradient is scaled by the step size where it is computed, and again where it is used. [inner-lr]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            update = {name: inner_lr * g for name, g in grads.items()}
            fast = {name: w - inner_lr * update[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def inner_loss_summed_over_points(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The support loss is summed over the points, so the step grows with their number. [inner-lr]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            prediction = functional_call(model, fast, (support_x,))
            loss = sum(loss_fn(prediction[i : i + 1], support_y[i : i + 1]) for i in range(len(support_y)))
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def ascent(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> Tensor:
    """The inner loop climbs: a plus where a minus belongs. [inner-lr]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w + inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def always_one_step(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """One inner step, whatever is asked. [inner-steps]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        theta = trainable(model)
        grads = gradients(model, loss_fn, theta, support_x, support_y)
        fast = {name: p - inner_lr * grads[name] for name, p in theta.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def always_five_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Five inner steps, as the paper has it, whatever is asked. [inner-steps]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = adapt(model, loss_fn, support_x, support_y, inner_lr, 5)
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def first_step_before_the_loop(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The first step is written out, and then the loop makes all of them. [inner-steps]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        theta = trainable(model)
        grads = gradients(model, loss_fn, theta, support_x, support_y)
        fast = {name: p - inner_lr * grads[name] for name, p in theta.items()}
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def loop_from_one(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The loop counts from one and so ends a step early. [inner-steps]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(1, inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def gradient_by_the_meta_parameters(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Every step differentiates by the model's parameters, through those before. [meta-parameter-steps, batch-norm]"""
    theta = trainable(model)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = theta
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def notebook_with_more_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Clones of the weights, and `.grad` of the model, in every step. [meta-parameter-steps, batch-norm]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = {name: p.clone() for name, p in trainable(model).items()}
        for _ in range(inner_steps):
            loss_fn(functional_call(model, fast, (support_x,)), support_y).backward(create_graph=True)
            for name, p in trainable(model).items():
                fast[name] = fast[name] - inner_lr * p.grad
                p.grad = None
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def heavy_ball(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loop has a momentum of 0.9. [inner-momentum]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        velocity = {name: torch.zeros_like(p) for name, p in fast.items()}
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            velocity = {name: 0.9 * v + grads[name] for name, v in velocity.items()}
            fast = {name: w - inner_lr * velocity[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def gradients_pile_up(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner gradients are added up and never cleared between steps: a momentum of 1. [inner-momentum]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        grads = {name: torch.zeros_like(p) for name, p in fast.items()}
        for _ in range(inner_steps):
            for name, g in gradients(model, loss_fn, fast, support_x, support_y).items():
                grads[name] = grads[name] + g
            fast = {name: w - inner_lr * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def weights_decay(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner update has the weight decay of an optimizer, 0.01. [inner-weight-decay]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w - inner_lr * (grads[name] + 0.01 * w) for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def penalty_in_the_inner_loss(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner loss carries an L2 penalty of 0.001 on all weights. [inner-weight-decay]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            loss = loss + 1e-3 * sum(w.pow(2).sum() for w in fast.values())
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads, strict=True)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def clipped_by_norm(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """The inner gradient's norm is limited to 0.5, and the limit is differentiated too. [inner-clipping]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            norm = torch.cat([g.flatten() for g in grads.values()]).norm()
            scale = (0.5 / (norm + 1e-6)).clamp(max=1.0)
            fast = {name: w - inner_lr * scale * grads[name] for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()


def clipped_by_value(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> Tensor:
    """Every entry of the inner gradient is limited to ±0.1. [inner-clipping]"""
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query, strict=True):
        fast = trainable(model)
        for _ in range(inner_steps):
            grads = gradients(model, loss_fn, fast, support_x, support_y)
            fast = {name: w - inner_lr * grads[name].clamp(-0.1, 0.1) for name, w in fast.items()}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.detach()
