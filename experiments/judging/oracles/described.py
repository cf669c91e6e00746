"""Build the NumPy gradient of a network description, and compute its meta-gradients.

A description is JSON: an MLP has `inputs`, `hidden`, `width`, `activation`; a CNN has `side`, `channels`, `blocks`,
`filters` and perhaps `running` (its batch normalisation keeps running statistics, on which nothing depends in training
mode). Either may have `outputs` (else 1) and

    loss    of an MLP: "pseudo-huber" (else the squared error)
    tied    {parameter: parameter whose tensor it shares}
    frozen  [parameters that are not trained]
    unused  {further parameters that the loss does not depend on: shape}

`experiments.problems.networks.build` makes the torch module that it describes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.judging.oracles.cnn import CNN
from experiments.judging.oracles.linear import closed_form
from experiments.judging.oracles.mlp import MLP, POINT_LOSSES
from experiments.judging.oracles.sweep import Computes, Gradient, complex_step, sweep
from experiments.judging.oracles.traits import Frozen, Network, Tied, Unused
from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.stream import Arrays

Weights = dict[str, Floats]
Description = Mapping[str, Any]


def network(description: Description, constants: Weights | None = None) -> Network:
    """Build the loss and gradient of a described network; `constants` are the values of its frozen parameters."""
    if "blocks" in description:
        built: Network = CNN(description["blocks"])
    else:
        point_loss = POINT_LOSSES[description.get("loss", "squared error")]
        built = MLP(description["hidden"], description["activation"], point_loss)
    if tied := description.get("tied"):
        built = Tied(built, tied)
    if constants:
        built = Frozen(built, constants)
    if unused := description.get("unused"):
        built = Unused(built, frozenset(unused))
    return built


def frozen_parameters(description: Description) -> tuple[str, ...]:
    """Return the names of a described network's parameters that are not trained."""
    return tuple(description.get("frozen", ()))


def shapes(description: Description) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter in the module's order, also frozen and unused ones; tied tensors once."""
    shape_of: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in description.get("unused", {}).items()}
    features = description.get("inputs", 0)
    for i in range(1, description.get("hidden", 0) + 1):
        shape_of |= {f"hidden{i}.weight": (description["width"], features), f"hidden{i}.bias": (description["width"],)}
        features = description["width"]
    if "blocks" in description:
        channels, filters = description["channels"], description["filters"]
        for i in range(1, description["blocks"] + 1):
            shape_of |= {f"conv{i}.weight": (filters, channels, 3, 3), f"conv{i}.bias": (filters,)}
            shape_of |= {f"norm{i}.weight": (filters,), f"norm{i}.bias": (filters,)}
            channels = filters
        features = filters * (description["side"] // 2 ** description["blocks"]) ** 2
    outputs = description.get("outputs", 1)
    shape_of |= {"out.weight": (outputs, features), "out.bias": (outputs,)}
    return {name: shape for name, shape in shape_of.items() if name not in description.get("tied", {})}


class Oracle:
    """A function that computes meta-gradients of a described network with `steps` inner steps of size `lr`.

    name: the method, "closed form" or "complex step".
    nearest_kink: the smallest distance so far of a unit from where its derivative jumps.
    """

    def __init__(self, description: Description, lr: float, steps: int) -> None:
        self.description, self.lr, self.steps = description, lr, steps
        plain = not description.keys() & {"loss", "tied", "frozen", "unused"} and description.get("outputs", 1) == 1
        self.name = "closed form" if plain and description.get("hidden") == 0 else "complex step"
        self.nearest_kink = math.inf

    def __call__(self, computes: Computes, weights: Weights, batch: Arrays) -> Weights:
        """Compute the mean over tasks of what `computes` names, for every trained parameter.

        weights: all parameters, frozen ones too.
        """
        if self.name == "closed form":
            return closed_form(computes, weights, batch, self.lr, self.steps)
        frozen = frozen_parameters(self.description)
        net = network(self.description, {name: weights[name] for name in frozen})

        def gradient(x: Floats, y: Floats) -> Gradient:
            return lambda phi: net.gradient(phi, x, y)

        support, query = gradient(batch.support_x, batch.support_y), gradient(batch.query_x, batch.query_y)
        trained = {name: value for name, value in weights.items() if name not in frozen}
        theta = {name: np.broadcast_to(value, (len(batch.support_x), *value.shape)) for name, value in trained.items()}
        swept = sweep(computes, theta, support, query, complex_step(support), self.lr, self.steps)
        self.nearest_kink = min(self.nearest_kink, net.nearest_kink)
        return {name: value.mean(axis=0) for name, value in swept.items()}
