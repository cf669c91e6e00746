"""Differentiate a multilayer perceptron's mean loss by hand, in NumPy, for real or complex numbers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float64, or complex128 during a complex step


class PointLoss(NamedTuple):
    """The loss of one output, and its derivative, both as functions of prediction − target."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


SQUARED_ERROR = PointLoss(lambda d: d * d, lambda d: 2 * d)  # no abs: it has to stay analytic
PSEUDO_HUBER = PointLoss(lambda d: np.sqrt(1 + d * d) - 1, lambda d: d / np.sqrt(1 + d * d))
POINT_LOSSES = {"squared error": SQUARED_ERROR, "pseudo-huber": PSEUDO_HUBER}


class MLP:
    """A perceptron of `hidden` layers named hidden1, hidden2, … with `activation`, and a linear layer named out.

    activation: "relu" or "tanh". Parameters carry a leading task axis: weights (tasks, out, in), biases (tasks, out).
    """

    def __init__(self, hidden: int, activation: str, point_loss: PointLoss = SQUARED_ERROR) -> None:
        self.layers = [*(f"hidden{i}" for i in range(1, hidden + 1)), "out"]
        self.activation = activation
        self.point_loss = point_loss
        self.nearest_kink = np.inf
        """The smallest distance so far of a pre-activation from ReLU's kink."""

    def predict(self, params: Mapping[str, Array], x: Array) -> Array:
        """Compute the network's output, (tasks, points, outputs), from x (tasks, points, inputs)."""
        return self._forward(params, x)[-1]

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """Compute each task's mean loss, (tasks,), from x (tasks, points, inputs) and y (tasks, points, outputs)."""
        losses: Array = self.point_loss.value(self.predict(params, x) - y).mean(axis=(1, 2))
        return losses

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient of each task's `loss` by back-propagation."""
        inputs = self._forward(params, x)
        delta = self.point_loss.slope(inputs[-1] - y) / y[0].size  # (tasks, points, outputs), by the network's output
        grads: dict[str, Array] = {}
        for i in reversed(range(len(self.layers))):
            name = self.layers[i]
            grads[f"{name}.weight"] = delta.transpose(0, 2, 1) @ inputs[i]
            grads[f"{name}.bias"] = delta.sum(axis=1)
            if i:
                delta = (delta @ params[f"{name}.weight"]) * self._slope(inputs[i])
        return grads

    def _forward(self, params: Mapping[str, Array], x: Array) -> list[Array]:
        """Return the input of every layer, and last the network's output; each (tasks, points, features)."""
        inputs = [x]
        for name in self.layers:
            z = inputs[-1] @ params[f"{name}.weight"].transpose(0, 2, 1) + params[f"{name}.bias"][:, None, :]
            inputs.append(z if name == "out" else self._activate(z))
        return inputs

    def _activate(self, z: Array) -> Array:
        if self.activation == "tanh":
            return np.tanh(z)
        self.nearest_kink = min(self.nearest_kink, float(np.abs(z.real).min()))
        return np.where(z.real > 0, z, 0)

    def _slope(self, activated: Array) -> Array:
        """Compute the activation's derivative from its value."""
        return 1 - activated * activated if self.activation == "tanh" else np.where(activated.real > 0, 1.0, 0.0)
