"""Define the probes: calls of a `meta_step` that are chosen so that right and wrong functions give different results.

Most probes vary one argument of the first, so that they show how a result grows with α, K, and the number of tasks,
support and query points. tanh makes the Hessian change from iterate to iterate, and the pseudo-Huber loss tells code
that ignores its loss argument from code that uses it. Other networks follow: one with ReLU, and some with batch
normalisation, whose parameters code may forget.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

from experiments.judging.oracles.mlp import MLP, POINT_LOSSES
from experiments.judging.oracles.normalised import NormalisedMLP
from experiments.judging.oracles.sweep import Gradient, complex_step, sweep
from experiments.judging.verify import Weights, condition, error
from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.stream import Arrays

Computes = Literal["maml", "fomaml", "reptile"]
LABEL = "audit probes v1"
EPS = {"float64": float(np.finfo(np.float64).eps), "float32": float(np.finfo(np.float32).eps)}
NOTHING = 1e-10
GREW = 1.5  # how much larger weights are drawn than a fresh network's, so that curvature matters


@dataclass(frozen=True, eq=False)
class Probe:
    """The arguments of one call: weights θ by name, a meta-batch, α, K, and a loss (its kind, times `scale`).

    layers: (inputs, width, …, outputs) of a perceptron with this activation, "tanh" or "relu"; `normalised`: with batch
        normalisation by the points at hand before each activation.
    """

    name: str
    layers: tuple[int, ...]
    theta: Weights
    batch: Arrays
    lr: float
    steps: int
    loss: str = "pseudo-huber"
    scale: float = 1.0
    activation: str = "tanh"
    normalised: bool = False

    @property
    def network(self) -> tuple[tuple[int, ...], str, bool]:
        """Return what identifies the network: layers, activation, and whether it is normalised."""
        return self.layers, self.activation, self.normalised

    @property
    def called_with(self) -> str:
        """Describe the call in terms of a user's arguments, for messages."""
        tasks = len(self.batch.support_x)
        network = ", a network with batch normalisation" if self.normalised else ""
        return f"{tasks} {'task' if tasks == 1 else 'tasks'}, inner_lr={self.lr:g}, inner_steps={self.steps}{network}"

    @property
    def sizes(self) -> dict[str, float]:
        """Return the sizes that a wrong factor may depend on, by their symbols in explanations: T, S, Q, K and α."""
        support, query = self.batch.support_x, self.batch.query_x
        counts = {"T": len(support), "S": support.shape[1], "Q": query.shape[1], "K": self.steps}
        return {name: float(count) for name, count in counts.items()} | {"α": self.lr}

    def oracle(self, computes: Computes, theta: Weights, batch: Arrays) -> Weights:
        """Compute the ground truth at any weights and points: the mean over tasks of what `computes` names."""
        kind = NormalisedMLP if self.normalised else MLP
        network = kind(len(self.layers) - 2, self.activation, POINT_LOSSES[self.loss])

        def of(x: Floats, y: Floats) -> Gradient:
            return lambda phi: {name: self.scale * g for name, g in network.gradient(phi, x, y).items()}

        support, query = of(batch.support_x, batch.support_y), of(batch.query_x, batch.query_y)
        start = {name: np.broadcast_to(value, (len(batch.support_x), *value.shape)) for name, value in theta.items()}
        swept = sweep(computes, start, support, query, complex_step(support), self.lr, self.steps)
        return {name: value.mean(axis=0) for name, value in swept.items()}

    @cached_property
    def right(self) -> dict[Computes, Weights]:
        """Return the ground truth of this probe for second-order MAML, FOMAML and Reptile."""
        kinds: tuple[Computes, ...] = ("maml", "fomaml", "reptile")
        return {computes: self.oracle(computes, self.theta, self.batch) for computes in kinds}

    def distance(self, result: Weights, reference: Weights) -> float:
        """Return the `error` of a result against a reference; 0 where both are rounding next to the meta-gradient."""
        nothing = NOTHING * norm(self.right["maml"])
        return 0.0 if norm(result) <= nothing and norm(reference) <= nothing else error(result, reference)

    @cached_property
    def tolerances(self) -> dict[str, float]:
        """Return the error that rounding alone explains, by dtype: 100·κ·eps, and at least 1e-12."""
        kappa = {
            dtype: condition(lambda theta, batch: self.oracle("maml", theta, batch), self.theta, self.batch, eps)
            for dtype, eps in EPS.items()
        }
        return {dtype: max(1e-12, 100 * kappa[dtype] * eps) for dtype, eps in EPS.items()}

    def request(self, dtype: str = "float64") -> dict[str, Any]:
        """Return the call in the form in which it is sent to the worker."""
        return {
            "op": "call",
            "network": {"layers": list(self.layers), "activation": self.activation, "normalised": self.normalised},
            "theta": {name: value.tolist() for name, value in self.theta.items()},
            "batch": [part.tolist() for part in self.batch],
            "lr": self.lr,
            "steps": self.steps,
            "loss": self.loss,
            "scale": self.scale,
            "dtype": dtype,
        }


def norm(result: Weights) -> float:
    """Return the Euclidean norm over all parameters."""
    return float(np.sqrt(sum(float(np.sum(g**2)) for g in result.values())))


def weights(layers: tuple[int, ...], index: int, normalised: bool = False) -> Weights:
    """Draw weights for a perceptron, in float64: uniform, with 1.5 times the usual bound 1/√fan_in.

    index: the number of the draw. Weights of batch normalisation are from U[½, 3⁄2], their biases from U[−½, ½].
    """
    names = [*(f"hidden{i}" for i in range(1, len(layers) - 1)), "out"]
    theta: Weights = {}
    for position, (name, fan_in, fan_out) in enumerate(zip(names, layers[:-1], layers[1:], strict=True)):
        draws = 2 * uniform(raw(f"{LABEL} weights {position}", index, fan_in, fan_out * (fan_in + 1))) - 1
        values = GREW / np.sqrt(fan_in) * draws.reshape(fan_out, fan_in + 1)
        theta |= {f"{name}.weight": values[:, :-1].copy(), f"{name}.bias": values[:, -1].copy()}
        if normalised and name != "out":
            scale, shift = uniform(raw(f"{LABEL} normalisation {position}", index, fan_in, 2 * fan_out)).reshape(2, -1)
            theta |= {f"norm{position + 1}.weight": 0.5 + scale, f"norm{position + 1}.bias": shift - 0.5}
    return theta


def points(inputs: int, index: int, tasks: int, shots: int, queries: int) -> Arrays:
    """Draw a meta-batch of scalar targets: inputs and targets independent from U[−2, 2], so that no task is easy.

    index: the number of the draw.
    """

    def draw(part: int, count: int, features: int) -> Floats:
        draws = uniform(raw(f"{LABEL} points {part}", index, features, tasks * count * features))
        return (4 * draws - 2).reshape(tasks, count, features)

    return Arrays(draw(0, shots, inputs), draw(1, shots, 1), draw(2, queries, inputs), draw(3, queries, 1))


def at_optimum(theta: Weights, batch: Arrays, layers: tuple[int, ...]) -> Arrays:
    """Replace the support targets by the network's own predictions, so that no inner step moves the weights."""
    tasks = {name: np.broadcast_to(value, (len(batch.support_x), *value.shape)) for name, value in theta.items()}
    return batch._replace(support_y=MLP(len(layers) - 2, "tanh").predict(tasks, batch.support_x).copy())


TANH = (2, 5, 5, 1)
LINEAR = (2, 1)
BASE = "base"
STEEPEST = "large loss"
"""The probe with the largest inner gradients."""


@cache
def probes(steps: int | None = None) -> tuple[Probe, ...]:
    """Return all probes; the first one, BASE, is the one that most others vary.

    steps: one K for all of them, in the place of several.
    """
    theta, other = weights(TANH, 0), weights(TANH, 1)
    batch = points(2, 0, tasks=3, shots=5, queries=7)
    more = points(2, 6, tasks=3, shots=8, queries=9)  # normalised over few points, outputs hardly depend on the weights
    normalised, relu = weights(TANH, 3, normalised=True), weights(TANH, 4)
    every = (
        Probe(BASE, TANH, theta, batch, 0.3, 3),
        Probe("one step", TANH, theta, batch, 0.3, 1),
        Probe("two steps", TANH, theta, batch, 0.3, 2),
        Probe("five steps", TANH, theta, batch, 0.3, 5),
        Probe("other α", TANH, theta, batch, 0.13, 3),
        Probe("other points", TANH, theta, points(2, 1, tasks=3, shots=5, queries=7), 0.3, 3),
        Probe("other weights", TANH, other, batch, 0.3, 3),
        Probe("two tasks", TANH, theta, points(2, 2, tasks=2, shots=5, queries=7), 0.3, 3),
        Probe("one task", TANH, other, points(2, 3, tasks=1, shots=6, queries=9), 0.3, 2),
        Probe("other sizes", TANH, theta, points(2, 4, tasks=3, shots=8, queries=4), 0.3, 3),
        Probe("α = 0", TANH, theta, batch, 0.0, 3),
        Probe("support met", TANH, theta, at_optimum(theta, batch, TANH), 0.3, 3),
        Probe(STEEPEST, TANH, theta, batch, 0.3 / 1000, 1, scale=1000.0),
        Probe("small loss", TANH, theta, batch, 0.3 * 1000, 3, scale=0.001),
        Probe("quadratic", LINEAR, weights(LINEAR, 2), points(2, 5, 3, 5, 7), 0.1, 3, loss="squared error"),
        Probe("ReLU", TANH, relu, more, 0.1, 2, activation="relu"),
        Probe("normalised", TANH, normalised, more, 0.1, 2, normalised=True),
        Probe("normalised, one step", TANH, normalised, more, 0.1, 1, normalised=True),
    )
    if steps is None:
        return every
    varied = ("one step", "two steps", "five steps", "normalised, one step")
    return tuple(replace(p, steps=steps) for p in every if p.name not in varied)
