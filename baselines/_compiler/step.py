"""The parts of the adjoint sweep, as functions of flat lists of tensors: an inner step, its pull-back, the query.

All tasks go through `vmap` together, or one after the other through functions of one task. φ is the dense parameters
and, for the weights of linear layers that stay factored (see `_factored`), H and D. Where all tasks share φ₀ = θ, φ has
no task axis and no history yet, so that the products with θ are one large product.

    fixed   α; the factored weights θ; frozen parameters; buffers
    φ       the dense parameters; H of every factored weight, then D, unless φ = θ
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from baselines._compiler.low_rank import FactoredLinear, Factors, Points, probe, smaller
from baselines._compiler.tracing import operations
from baselines._shared.refusals import Refusing
from baselines.contract import Params, Spec, Stateless, trainable

Values = list[Tensor]


def clones(tensors: Iterable[Tensor]) -> Values:
    """Copies of buffers, which a forward may write to."""
    return [t.clone() for t in tensors]


class Phases:
    """The functions for `tasks` tasks at a time (None: for one, without a task axis), and the order of their tensors.

    task: the tensors of one task, for which linear layers are counted.
    """

    def __init__(self, spec: Spec, steps: int, tasks: int | None, task: Values) -> None:
        self.spec, self.steps, self.tasks = spec, steps, tasks
        self.network = Stateless(spec.model)
        theta = trainable(spec.model)
        self.lr = torch.tensor(spec.inner.lr, dtype=spec.dtype, device=spec.device)
        self.rows = self._factored(theta, task) if tasks else {}
        self.factored = list(self.rows)
        self.dense = [name for name in theta if name not in self.rows]
        self.constants = [name for name, p in spec.model.named_parameters() if not p.requires_grad]
        self.buffers = [name for name, _ in spec.model.named_buffers()]

    def _factored(self, theta: Params, task: Values) -> dict[str, int]:
        """The weights that stay factored, with the rows that a step adds to their factors.

        Their one use, with support and with query points, has to be that of a linear layer.
        """
        frozen = {name: p for name, p in self.spec.model.named_parameters() if name not in theta}
        others = frozen | dict(self.spec.model.named_buffers())

        def forward(x: Tensor, *tensors: Tensor) -> Values:
            own = dict(zip((*theta, *others), (*tensors[: len(theta)], *clones(tensors[len(theta) :])), strict=True))
            return [self.network(own, x)]

        tensors = [*theta.values(), *others.values()]
        found: list[dict[str, int]] = []  # for support and query: the rows, where the weight is used once and linearly
        for x in task[::2]:
            with Points(theta) as points, torch.no_grad():
                forward(x, *tensors)
            uses = operations(forward, [x, *tensors])[1][1:]
            once = {name for name, count in zip(theta, uses, strict=False) if count == 1}
            found.append({name: rows for name, rows in points.rows.items() if name in once})
        support, query = found
        return smaller(theta, {name: rows for name, rows in support.items() if name in query}, self.steps)

    def inputs(self, parameters: Params, buffers: Params) -> tuple[Values, Values]:
        """The model's present tensors, by name, as `fixed` and the dense θ."""
        fixed = [self.lr, *(parameters[name] for name in self.factored + self.constants)]
        for b in buffers.values():
            fixed.append(b if self.tasks is None else b.expand(self.tasks, *b.shape).contiguous())
        return fixed, [parameters[name] for name in self.dense]

    def parts(self, flat: tuple[Tensor, ...], shared: bool) -> tuple[Values, Values, Tensor, Tensor, Values]:
        """fixed, φ, x, y and the rest."""
        ends = 1 + len(self.factored) + len(self.constants) + len(self.buffers)
        phi = ends + len(self.dense) + (0 if shared else 2 * len(self.factored))
        return list(flat[:ends]), list(flat[ends:phi]), flat[phi], flat[phi + 1], list(flat[phi + 2 :])

    def cotangents(self) -> Values:
        """Tensors of the shapes and dtypes of a step's outputs: the dense parameters, h and δ."""
        theta, lead = trainable(self.spec.model), () if self.tasks is None else (self.tasks,)
        h = [(name, (self.rows[name], theta[name].shape[1])) for name in self.factored]
        delta = [(name, (self.rows[name], theta[name].shape[0])) for name in self.factored]
        return [
            theta[name].detach().new_zeros(*lead, *shape)
            for name, shape in (*((name, theta[name].shape) for name in self.dense), *h, *delta)
        ]

    # -- of one task

    def loss(self, fixed: Values, phi: Values, probes: Params, x: Tensor, y: Tensor) -> tuple[Tensor, Params]:
        """The mean loss over points, and what the factored layers saw."""
        weights = dict(zip(self.factored, fixed[1:], strict=False))
        others = dict(zip(self.constants + self.buffers, fixed[1 + len(weights) :], strict=True))
        others |= dict(zip(self.buffers, clones(others[name] for name in self.buffers), strict=True))
        dense = dict(zip(self.dense, phi, strict=False))
        history: list[Any] = list(phi[len(dense) :]) or [None] * 2 * len(weights)
        factors = {
            name: Factors(weight, history[i], history[len(weights) + i], probes.get(name))
            for i, (name, weight) in enumerate(weights.items())
        }
        with FactoredLinear(factors, fixed[0]) as layers, Refusing():
            prediction = self.network(others | weights | dense, x)
            return self.spec.loss(prediction, y), layers.inputs

    def gradient(self, fixed: Values, phi: Values, x: Tensor, y: Tensor) -> Values:
        """∇S: with respect to the dense parameters, then h and δ of the factored ones."""
        count = len(self.dense)
        weights = dict(zip(self.factored, fixed[1:], strict=False))
        probes = {name: probe(rows, weights[name]) for name, rows in self.rows.items()}

        def loss(dense: Values, probes: Params) -> tuple[Tensor, Params]:
            return self.loss(fixed, [*dense, *phi[count:]], probes, x, y)

        (dense, delta), h = grad(loss, argnums=(0, 1), has_aux=True)(phi[:count], probes)
        return [*dense, *(h[name] for name in self.factored), *(delta[name] for name in self.factored)]

    # -- of all tasks

    def over_tasks(self, function: Callable[..., Any], shared: bool) -> Callable[..., Any]:
        """`function(fixed, phi, x, y)` for all tasks; `shared`: φ is θ."""
        if self.tasks is None:
            return function
        fixed: Any = [None] * (1 + len(self.factored) + len(self.constants)) + [0] * len(self.buffers)
        return vmap(function, (fixed, None if shared else 0, 0, 0), randomness="different")

    def advance(self, shared: bool, *flat: Tensor) -> Values:
        """An inner step: (fixed, φₖ, x, y) -> (dense φₖ₊₁, h, δ)."""
        fixed, phi, x, y, _ = self.parts(flat, shared)
        found = self.over_tasks(self.gradient, shared)(fixed, phi, x, y)
        return self._after(fixed[0], phi, found)

    def step(self, shared: bool, *flat: Tensor) -> Values:
        """An inner step and its pull-back: (fixed, φₖ, x, y, cotangents) -> (dense φₖ₊₁, h, δ; what is pulled back).

        The pull-back is the vector-Jacobian product, to the factored weights θ, the dense φₖ, H and D; to θ it is the
        sum over tasks.
        """
        fixed, phi, x, y, cotangents = self.parts(flat, shared)
        lr, weights, others = fixed[0], fixed[1 : 1 + len(self.factored)], fixed[1 + len(self.factored) :]
        count = len(self.dense)

        def gradients(weights: Values, phi: Values) -> Values:
            found: Values = self.over_tasks(self.gradient, shared)([lr, *weights, *others], phi, x, y)
            return found

        found, pull = vjp(gradients, weights, phi)[:2]
        v, ends = cotangents[:count], cotangents[count:]
        start = [t.sum(0) if shared and self.tasks else t for t in v]
        if ends:  # few dense parameters: scale v before, since h and δ have no factor α
            to_weights, to_phi = pull([*(-lr * t for t in v), *ends])
            swept = [t + g for t, g in zip(start, to_phi, strict=False)]
        else:  # scale in the same pass that adds
            to_weights, to_phi = pull(v)
            swept = [t - lr * g for t, g in zip(start, to_phi, strict=True)]
        return [*self._after(lr, phi, found), *(t.contiguous() for t in (*to_weights, *swept, *to_phi[count:]))]

    def _after(self, lr: Tensor, phi: Values, found: Values) -> Values:
        """φₖ₊₁ of the dense parameters, and the new rows of the factors, from the gradients."""
        dense = [p - lr * g for p, g in zip(phi, found[: len(self.dense)], strict=False)]
        return [t.contiguous() for t in (*dense, *found[len(self.dense) :])]

    def query(self, shared: bool, *flat: Tensor) -> Values:
        """(fixed, φ_K, x, y) -> (losses; the gradient of their mean by the factored weights, dense φ_K, H and D)."""
        fixed, phi, x, y, _ = self.parts(flat, shared)
        weights, others = fixed[1 : 1 + len(self.factored)], fixed[1 + len(self.factored) :]

        def one(fixed: Values, phi: Values, x: Tensor, y: Tensor) -> Tensor:
            return self.loss(fixed, phi, {}, x, y)[0]

        def mean(weights: Values, phi: Values) -> tuple[Tensor, Tensor]:
            losses = self.over_tasks(one, shared)([fixed[0], *weights, *others], phi, x, y)
            return losses.mean(), losses

        (to_weights, to_phi), losses = grad(mean, argnums=(0, 1), has_aux=True)(weights, phi)
        return [t.contiguous() for t in (losses, *to_weights, *to_phi)]
