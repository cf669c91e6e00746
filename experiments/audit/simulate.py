"""What a `meta_step` with a given mistake would compute: the predictions that results are compared with.

All tasks are computed at once, over a leading task axis; autograd in float64. The right results do not come from here
but from the NumPy oracles; tests hold the two together.
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
    """How a meta-gradient is computed; the defaults are second-order MAML, every other value is a mistake.

    result: what ends in `.grad`; "weights" is the mean adapted weights themselves.
    rate, steps: α and K that are really used, as functions of the probe.
    graph: the steps whose ∇S is differentiated, as a function of (k, K).
    sweep: a hand-rolled reverse sweep with this mistake, in the place of differentiating through the loop.
    carried: a task starts from the adapted weights of the one before; "cut": without their graph.
    frozen: parameters that the inner loop leaves alone.
    activation: of a forward pass of its own, in the place of the model's.
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

    weight: of the mean over them in the loss.
    """

    x: Tensor
    y: Tensor
    weight: float


Data = list[Part]


class Simulation:
    """One recipe on one probe."""

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
        """Points of all tasks: support, query, both (sum, mean or all points alike), or all tasks' pooled."""
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
        """The network's outputs, or those of a forward pass of the recipe's own."""
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
        """Each task's loss, (tasks,): of the probe, or the plain one named `kind`."""
        scale = 1.0 if kind else self.probe.scale
        parts = []
        for x, y, weight in data:
            d = self.predict(phi, x) - y
            point = d * d if (kind or self.probe.loss) == "squared error" else torch.sqrt(1 + d * d) - 1
            parts.append(scale * weight * point.mean((1, 2)))
        return torch.stack(parts).sum(0)

    # -- the inner loop

    def gradient(self, phi: Params, k: int, K: int, with_respect_to: Params) -> Params:
        """∇S(φ) of every task, with its graph if the recipe keeps it."""
        kept = self.recipe.graph(k, K)
        loss = self.loss(phi, self.inner, self.recipe.inner_loss)
        if self.recipe.left_over == "through":  # what `backward` leaves on the leaves, through the loop so far
            found = torch.autograd.grad(loss.sum(), list(self.start.values()), retain_graph=True)
            self.left_over = _add(self.left_over, dict(zip(self.start, found, strict=True)))
        found = torch.autograd.grad(loss.sum(), list(with_respect_to.values()), create_graph=True)
        rows = len(loss)  # of a chain of tasks, θ stands in the first row
        grads = {name: (g if kept else g.detach())[:rows] for name, g in zip(phi, found, strict=True)}
        if self.recipe.left_over == "last":
            self.left_over = {name: g.detach() for name, g in grads.items()}
        if self.recipe.left_over == "direct":
            self.left_over = _add(self.left_over, {name: g.detach() for name, g in grads.items()})
        return grads

    def clip(self, grads: Params) -> Params:
        """Clipped by the norm over all parameters, or by value, as the recipe has it."""
        if c := self.recipe.clip_value:
            return {name: g.clamp(-c, c) for name, g in grads.items()}
        if c := self.recipe.clip_norm:
            norm = torch.stack([(g * g).flatten(1).sum(1) for g in grads.values()]).sum(0).sqrt()
            factor = (c / (norm + 1e-6)).clamp(max=1)
            factor = factor.detach() if self.recipe.clip_detached else factor
            return {name: g * factor.reshape(-1, *[1] * (g.dim() - 1)) for name, g in grads.items()}
        return grads

    def iterates(self, phi: Params) -> list[Params]:
        """φ₀, …, φ_K of every task."""
        r, K, rate = self.recipe, self.recipe.steps(self.probe), self.recipe.rate(self.probe)
        found = [phi]
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
            found.append(phi)
        return found

    # -- the outer gradient, of every task: parameter → (tasks, …)

    def per_task(self) -> Params:
        """What each task contributes, before the mean over tasks."""
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
        """φ_K where each task goes on from the one before, all of it in the graph."""
        everything, phi, adapted = self.inner, {name: p[:1] for name, p in self.start.items()}, []
        for t in range(self.count):
            self.inner = [Part(x[t : t + 1], y[t : t + 1], weight) for x, y, weight in everything]
            phi = self.iterates(phi)[-1]
            adapted.append(phi)
        return {name: torch.cat([a[name] for a in adapted]) for name in self.start}

    def one_after_the_other(self) -> Params:
        """Each task by itself, but from the weights that the one before left in the model."""
        results, theta = [], self.probe.theta
        for t in range(self.count):
            task = type(self.probe.batch)(*(part[t : t + 1] for part in self.probe.batch))
            alone = Simulation(replace(self.recipe, carried=""), replace(self.probe, theta=theta, batch=task))
            results.append(alone.per_task())
            theta = {name: p[0].detach().numpy() for name, p in alone.iterates(alone.start)[-1].items()}
        return {name: torch.cat([result[name] for result in results]) for name in self.start}

    def by_sweep(self) -> Params:
        """v ← v − α H v over the steps, with the recipe's mistake in H or in the order."""
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
        """The result over tasks, and what the inner loop left in `.grad` where the recipe does not clear it."""
        contributions = self.per_task()
        chosen = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[self.recipe.tasks]
        return (
            {name: g[chosen].mean(0).detach().numpy() for name, g in contributions.items()},
            {name: g.mean(0).detach().numpy() for name, g in self.left_over.items()},
        )


def _add(a: Params, b: Params) -> Params:
    return {name: a[name] + b[name] for name in a}
