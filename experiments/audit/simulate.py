"""Simulate a `meta_step` with mistakes, to predict the results that a function with them would have.

All tasks are computed at once, over a leading task axis, by autograd in float64. The ground truth does not come from
here but from the NumPy oracles; tests hold that the recipe without mistakes agrees with them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from experiments.audit.probes import Probe
from experiments.judging.oracles.cnn import EPS
from experiments.judging.verify import Weights

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a meta-gradient is computed; the defaults are second-order MAML, and every other value is a mistake.

    result: what ends in `.grad`: the gradient, θ − φ_K, or the mean adapted weights themselves.
    inner_data, outer_data: the points of the inner and outer loss, as `Simulation.data` names them.
    activation: that of the function's own forward pass; empty for a call of the model.
    inner_loss, outer_loss: the kind of a loss of the function's own; empty for its loss argument.
    rate, steps: the α and K that the function really uses, as functions of the probe.
    graph: whether ∇S of step k is differentiated, as a function of (k, K).
    sweep: an adjoint sweep with this mistake, in the place of differentiating through the loop: the Hessian of the
        query loss, the Hessian at θ, or reversed factors.
    meta_parameter_steps: inner steps use gradients with respect to θ, not to φₖ.
    tasks: those that count.
    carried: a task starts from the adapted weights of the one before, with their graph or "cut" from it.
    mean_weights: the outer gradient is taken at the mean of the tasks' adapted weights.
    frozen: parameters that the inner loop does not adapt.
    left_over: which gradients of the inner loop stay in `.grad`: those at φₖ ("direct"), of the last step only, or
        those taken through the steps before.
    """

    result: Literal["gradient", "displacement", "weights"] = "gradient"
    inner_data: str = "support"
    outer_data: str = "query"
    activation: str = ""
    inner_loss: str = ""
    outer_loss: str = ""
    rate: Callable[[Probe], float] = lambda probe: probe.lr
    steps: Callable[[Probe], int] = lambda probe: probe.steps
    graph: Callable[[int, int], bool] = lambda k, K: True
    sweep: Literal["", "query", "theta", "reversed"] = ""
    meta_parameter_steps: bool = False
    tasks: Literal["all", "first", "last"] = "all"
    carried: Literal["", "graph", "cut"] = ""
    mean_weights: bool = False
    frozen: frozenset[str] = frozenset()
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    clip_value: float = 0.0
    clip_detached: bool = False
    left_over: Literal["", "direct", "last", "through"] = ""


class Part(NamedTuple):
    """Points that go through the network together: x (tasks, points, inputs), y (tasks, points, outputs).

    weight: the factor in the loss of the mean over these points.
    """

    x: Tensor
    y: Tensor
    weight: float


Data = list[Part]


class Simulation:
    """A call of a function that follows one recipe, with the arguments of one probe."""

    def __init__(self, recipe: Recipe, probe: Probe) -> None:
        self.recipe, self.probe = recipe, probe
        self.tensors = [torch.from_numpy(part) for part in probe.batch]
        self.count = len(self.tensors[0])
        self.start: Params = {
            name: torch.from_numpy(value).expand(self.count, *value.shape).clone().requires_grad_()
            for name, value in probe.theta.items()
        }
        self.inner, self.outer = self.data(recipe.inner_data), self.data(recipe.outer_data)
        self.left_over = {name: torch.zeros_like(p) for name, p in self.start.items()}

    # -- data and losses

    def data(self, which: str) -> Data:
        """Return the points of every task that `which` names.

        which: "support", "query", "all points", "both summed", "both averaged", or those of all tasks together,
            "pooled" support and "pooled query".
        """
        support_x, support_y, query_x, query_y = self.tensors
        if which == "support":
            return [Part(support_x, support_y, 1.0)]
        if which == "query":
            return [Part(query_x, query_y, 1.0)]
        if which in ("pooled", "pooled query"):
            some = (support_x, support_y) if which == "pooled" else (query_x, query_y)
            x, y = (t.flatten(0, 1).expand(self.count, -1, -1) for t in some)
            return [Part(x, y, 1.0)]
        if which == "all points":
            return [Part(torch.cat([support_x, query_x], 1), torch.cat([support_y, query_y], 1), 1.0)]
        weight = {"both summed": 1.0, "both averaged": 0.5}[which]
        return [Part(support_x, support_y, weight), Part(query_x, query_y, weight)]

    def predict(self, phi: Params, h: Tensor) -> Tensor:
        """Compute outputs (tasks, points, outputs) from inputs h, with the recipe's own activation if it has one."""
        activation = self.recipe.activation or self.probe.activation
        for weight in (name for name in phi if name.endswith(".weight") and not name.startswith("norm")):
            layer = weight.removesuffix(".weight")
            h = torch.baddbmm(phi[f"{layer}.bias"].unsqueeze(1), h, phi[weight].transpose(1, 2))
            if layer == "out":
                return h
            if self.probe.normalised:
                norm = layer.replace("hidden", "norm")
                centred = h - h.mean(1, keepdim=True)
                h = centred / (centred.square().mean(1, keepdim=True) + EPS).sqrt()
                h = h * phi[f"{norm}.weight"].unsqueeze(1) + phi[f"{norm}.bias"].unsqueeze(1)
            h = torch.tanh(h) if activation == "tanh" else torch.relu(h)
        raise ValueError("a network ends with a layer named out")

    def loss(self, phi: Params, data: Data, kind: str) -> Tensor:
        """Compute every task's loss, (tasks,); `kind`: a loss of the function's own, empty for the probe's."""
        scale = 1.0 if kind else self.probe.scale
        parts = []
        for x, y, weight in data:
            d = self.predict(phi, x) - y
            point = d * d if (kind or self.probe.loss) == "squared error" else torch.sqrt(1 + d * d) - 1
            parts.append(scale * weight * point.mean((1, 2)))
        return torch.stack(parts).sum(0)

    # -- the inner loop

    def gradient(self, phi: Params, k: int, K: int, with_respect_to: Params) -> Params:
        """Compute ∇S(φₖ) of every task, k being the step of K; with its graph if the recipe keeps that."""
        kept = self.recipe.graph(k, K)
        loss = self.loss(phi, self.inner, self.recipe.inner_loss)
        if self.recipe.left_over == "through":  # what `backward` leaves on the leaves, through the loop so far
            through = torch.autograd.grad(loss.sum(), list(self.start.values()), retain_graph=True)
            self.left_over = _add(self.left_over, dict(zip(self.start, through, strict=True)))
        gradients = torch.autograd.grad(loss.sum(), list(with_respect_to.values()), create_graph=True)
        rows = len(loss)  # of a chain of tasks, θ stands in the first row
        grads = {name: (g if kept else g.detach())[:rows] for name, g in zip(phi, gradients, strict=True)}
        if self.recipe.left_over == "last":
            self.left_over = {name: g.detach() for name, g in grads.items()}
        if self.recipe.left_over == "direct":
            self.left_over = _add(self.left_over, {name: g.detach() for name, g in grads.items()})
        return grads

    def clip(self, grads: Params) -> Params:
        """Clip gradients by their norm over all parameters, or by value, if the recipe says so."""
        if c := self.recipe.clip_value:
            return {name: g.clamp(-c, c) for name, g in grads.items()}
        if c := self.recipe.clip_norm:
            norm = torch.stack([(g * g).flatten(1).sum(1) for g in grads.values()]).sum(0).sqrt()
            factor = (c / (norm + 1e-6)).clamp(max=1)
            factor = factor.detach() if self.recipe.clip_detached else factor
            return {name: g * factor.reshape(-1, *[1] * (g.dim() - 1)) for name, g in grads.items()}
        return grads

    def iterates(self, phi: Params) -> list[Params]:
        """Run the inner loop from φ₀ = `phi`; return φ₀, …, φ_K of every task."""
        r, K, rate = self.recipe, self.recipe.steps(self.probe), self.recipe.rate(self.probe)
        iterates = [phi]
        velocity: Params = {}
        for k in range(K):
            grads = self.gradient(phi, k, K, self.start if r.meta_parameter_steps else phi)
            grads = self.clip(grads)
            if r.weight_decay:
                decayed = phi if r.graph(k, K) else {name: p.detach() for name, p in phi.items()}
                grads = {name: g + r.weight_decay * decayed[name] for name, g in grads.items()}
            if r.momentum:
                velocity = {name: r.momentum * velocity[name] + g for name, g in grads.items()} if velocity else grads
                ahead = {name: g + r.momentum * velocity[name] for name, g in grads.items()}
                grads = ahead if r.nesterov else velocity
            phi = {name: p if name in r.frozen else p - rate * grads[name] for name, p in phi.items()}
            iterates.append(phi)
        return iterates

    # -- the outer gradient of every task: parameter → (tasks, …)

    def per_task(self) -> Params:
        """Compute every task's contribution to the mean over tasks."""
        r = self.recipe
        if r.carried == "cut":
            return self.one_after_the_other()
        phi = self.chained() if r.carried else self.iterates(self.start)[-1]
        if r.mean_weights:
            phi = {name: p.mean(0, keepdim=True).expand_as(p) for name, p in phi.items()}
        if r.result == "displacement":
            return {name: (self.start[name] - p).detach() for name, p in phi.items()}
        if r.result == "weights":
            return {name: p.detach() for name, p in phi.items()}
        if r.sweep:
            return self.by_sweep()
        loss = self.loss(phi, self.outer, r.outer_loss)
        return dict(zip(self.start, torch.autograd.grad(loss.sum(), list(self.start.values())), strict=True))

    def chained(self) -> Params:
        """Return φ_K of every task, where each starts from φ_K of the one before, all in one graph."""
        everything, phi, adapted = self.inner, {name: p[:1] for name, p in self.start.items()}, []
        for t in range(self.count):
            self.inner = [Part(x[t : t + 1], y[t : t + 1], weight) for x, y, weight in everything]
            phi = self.iterates(phi)[-1]
            adapted.append(phi)
        return {name: torch.cat([a[name] for a in adapted]) for name in self.start}

    def one_after_the_other(self) -> Params:
        """Compute the tasks' contributions one by one, each from the weights that the one before left in the model."""
        results, theta = [], self.probe.theta
        for t in range(self.count):
            task = type(self.probe.batch)(*(part[t : t + 1] for part in self.probe.batch))
            alone = Simulation(replace(self.recipe, carried=""), replace(self.probe, theta=theta, batch=task))
            results.append(alone.per_task())
            theta = {name: p[0].detach().numpy() for name, p in alone.iterates(alone.start)[-1].items()}
        return {name: torch.cat([result[name] for result in results]) for name in self.start}

    def by_sweep(self) -> Params:
        """Compute every task's contribution by an adjoint sweep, with the recipe's mistake in H or in the order."""
        path = [{name: p.detach().requires_grad_() for name, p in phi.items()} for phi in self.iterates(self.start)]
        last = self.loss(path[-1], self.outer, self.recipe.outer_loss)
        v = torch.autograd.grad(last.sum(), list(path[-1].values()))
        order = path[:-1] if self.recipe.sweep == "reversed" else path[-2::-1]
        for phi in order:
            at = path[0] if self.recipe.sweep == "theta" else phi
            data = self.data("query") if self.recipe.sweep == "query" else self.inner
            loss = self.loss(at, data, self.recipe.inner_loss)
            grads = torch.autograd.grad(loss.sum(), list(at.values()), create_graph=True)
            inner = torch.stack([(g * u).sum() for g, u in zip(grads, v, strict=True)]).sum()
            product = torch.autograd.grad(inner, list(at.values()))
            v = tuple(a - self.recipe.rate(self.probe) * b for a, b in zip(v, product, strict=True))
        return dict(zip(self.start, v, strict=True))

    def mean(self) -> tuple[Weights, Weights]:
        """Return the mean over tasks, and the gradients that the inner loop left in `.grad` without clearing them."""
        contributions = self.per_task()
        chosen = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[self.recipe.tasks]
        return (
            {name: g[chosen].mean(0).detach().numpy() for name, g in contributions.items()},
            {name: g.mean(0).detach().numpy() for name, g in self.left_over.items()},
        )


def _add(a: Params, b: Params) -> Params:
    return {name: a[name] + b[name] for name in a}
