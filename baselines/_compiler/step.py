"""Define the parts of the adjoint sweep as functions of named tuples: an inner step, its pull-back, the outer loss.

All tasks go through `vmap` together, or one after the other through functions of one task. Where all tasks share
φ₀ = θ, φ has no task axis and no history yet, so that the products with θ are one large product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap
from torch.utils._pytree import tree_map

from baselines._compiler.low_rank import Factors, LowRankLinear
from baselines._shared.refusals import Refusing
from baselines.contract import Params, Spec, Stateless, trainable


class Constants(NamedTuple):
    """Hold what no inner step changes: α, the frozen parameters, and the buffers."""

    lr: Tensor  # α, a scalar
    frozen: Params
    buffers: Params  # (tasks, …) where tasks go together


class Phi(NamedTuple):
    """Hold the adapted parameters φₖ; or v, the derivative of the outer loss with respect to each of them.

    The weight of a low-rank layer is W − α DᵀH (see `low_rank`); the other parameters are dense.
    """

    W: Params  # (out, in): θ itself, shared by all tasks
    dense: Params  # (tasks, …); without tasks at φ₀ = θ
    factors: dict[str, Factors]  # H (tasks, rows, in) and D (tasks, rows, out) of each W; empty at φ₀ = θ


class Inputs(NamedTuple):
    """Hold what an inner step or the outer loss is computed from."""

    constants: Constants
    phi: Phi
    x: Tensor  # (tasks, points, …)
    y: Tensor


class Update(NamedTuple):
    """Hold what an inner step computes, φₖ₊₁ for dense parameters and rows of H and D; or gradients or cotangents."""

    dense: Params  # (tasks, …)
    rows: dict[str, Factors]  # h (tasks, points, in) and δ (tasks, points, out) of each low-rank layer


class Phases:
    """Make the functions for `tasks` tasks at a time; None: for one task, without a task axis.

    low_rank: the weights that are adapted by factors, with the number of rows that each step adds to these.
    """

    def __init__(self, spec: Spec, tasks: int | None, low_rank: dict[str, int]) -> None:
        self.spec, self.tasks, self.low_rank = spec, tasks, low_rank
        self.network = Stateless(spec.model)
        self.lr = torch.tensor(spec.inner.lr, dtype=spec.dtype, device=spec.device)

    def start(self, parameters: Params, buffers: Params) -> tuple[Constants, Phi]:
        """Arrange the model's present tensors as constants and φ₀ = θ."""
        theta = {name: p for name, p in parameters.items() if p.requires_grad}
        frozen = {name: p for name, p in parameters.items() if name not in theta}
        if self.tasks is not None:
            buffers = {name: b.expand(self.tasks, *b.shape).contiguous() for name, b in buffers.items()}
        W = {name: theta[name] for name in self.low_rank}
        dense = {name: p for name, p in theta.items() if name not in W}
        return Constants(self.lr, frozen, buffers), Phi(W, dense, factors={})

    def example_cotangents(self) -> Update:
        """Make zeros of the shapes and dtypes of a step's results, to trace its pull-back with."""
        theta = trainable(self.spec.model)
        leading = () if self.tasks is None else (self.tasks,)

        def zeros(name: str, *shape: int) -> Tensor:
            return theta[name].detach().new_zeros(*leading, *shape)

        return Update(
            {name: zeros(name, *p.shape) for name, p in theta.items() if name not in self.low_rank},
            {
                name: Factors(zeros(name, points, theta[name].shape[1]), zeros(name, points, theta[name].shape[0]))
                for name, points in self.low_rank.items()
            },
        )

    # -- one task

    def loss(self, inputs: Inputs, probes: Params) -> tuple[Tensor, Params]:
        """Compute the mean loss over points, S(φ) or Q(φ), and the inputs h of the low-rank layers."""
        constants, phi, x, y = inputs
        buffers = {name: b.clone() for name, b in constants.buffers.items()}  # which a forward may write to
        with LowRankLinear(phi.W, phi.factors, probes, constants.lr) as layers, Refusing():
            prediction = self.network(phi.W | phi.dense | constants.frozen | buffers, x)
            return self.spec.loss(prediction, y), layers.h

    def gradient(self, inputs: Inputs) -> Update:
        """Compute ∇S(φ) with respect to the dense parameters, and h and δ of the low-rank layers."""
        phi = inputs.phi
        probes = {name: phi.W[name].new_zeros(points, len(phi.W[name])) for name, points in self.low_rank.items()}

        def loss(dense: Params, probes: Params) -> tuple[Tensor, Params]:
            return self.loss(inputs._replace(phi=phi._replace(dense=dense)), probes)

        (dense, delta), h = grad(loss, argnums=(0, 1), has_aux=True)(phi.dense, probes)
        return Update(dense, {name: Factors(h[name], delta[name]) for name in self.low_rank})

    # -- all tasks; shared: they share φ = θ

    def over_tasks(self, function: Callable[[Inputs], Any], shared: bool) -> Callable[[Inputs], Any]:
        """Make a function of one task's inputs one of all tasks' inputs."""
        if self.tasks is None:
            return function
        phi: Any = None if shared else Phi(W=None, dense=0, factors=0)  # type: ignore[arg-type]
        axes: Any = Inputs(Constants(lr=None, frozen=None, buffers=0), phi, x=0, y=0)  # type: ignore[arg-type]
        return vmap(function, (axes,), randomness="different")

    def step(self, shared: bool, inputs: Inputs) -> Update:
        """Take an inner step, φₖ₊₁ = φₖ − α ∇S(φₖ)."""
        return self.descended(inputs, self.over_tasks(self.gradient, shared)(inputs))

    def step_and_pull_back(self, shared: bool, inputs: Inputs, v: Update) -> tuple[Update, Phi]:
        """Take an inner step, and pull v, the cotangents of its results, back to φₖ.

        The derivative with respect to θ (W, and dense where φₖ = θ is shared) is the sum over tasks.
        """
        lr = inputs.constants.lr

        # Inner step: g = ∇S(φₖ), with h and δ of the low-rank layers;   φₖ₊₁ = φₖ − α g
        def gradients(phi: Phi) -> Update:
            result: Update = self.over_tasks(self.gradient, shared)(inputs._replace(phi=phi))
            return result

        gradient, pull_back = vjp(gradients, inputs.phi)[:2]
        update = self.descended(inputs, gradient)

        # v, where it reaches φₖ past the gradient
        direct = {name: t.sum(0) if shared else t for name, t in v.dense.items()}

        # Hessian-vector product: v ← v − α ∇²S(φₖ) v, and the same through h and δ, which have no factor α
        if self.low_rank:  # few dense parameters: scale v
            (product,) = pull_back(v._replace(dense={name: -lr * t for name, t in v.dense.items()}))
            dense = {name: t + product.dense[name] for name, t in direct.items()}
        else:  # scale the product, in the same pass over memory that adds it
            (product,) = pull_back(v)
            dense = {name: t - lr * product.dense[name] for name, t in direct.items()}
        return update, tree_map(Tensor.contiguous, product._replace(dense=dense))

    def descended(self, inputs: Inputs, gradient: Update) -> Update:
        """Compute φₖ₊₁ of the dense parameters, beside the rows that are added to H and D."""
        dense = {name: p - inputs.constants.lr * gradient.dense[name] for name, p in inputs.phi.dense.items()}
        update: Update = tree_map(Tensor.contiguous, gradient._replace(dense=dense))
        return update

    def outer_loss(self, shared: bool, inputs: Inputs) -> tuple[Tensor, Phi]:
        """Compute Q(φ_K) of each task, and v = ∇Q(φ_K) of their mean."""

        def mean(phi: Phi) -> tuple[Tensor, Tensor]:
            losses, _ = self.over_tasks(lambda one: self.loss(one, {}), shared)(inputs._replace(phi=phi))
            return losses.mean(), losses

        v, losses = grad(mean, has_aux=True)(inputs.phi)
        return losses.contiguous(), tree_map(Tensor.contiguous, v)
