"""The gradient of a multilayer perceptron's mean loss, written by hand; complex numbers pass through it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float64, or complex128 during a complex step


class PointLoss(NamedTuple):
    """The loss of one output, and its derivative, as functions of prediction − target."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


SQUARED_ERROR = PointLoss(lambda d: d * d, lambda d: 2 * d)  # no abs: it has to stay analytic
PSEUDO_HUBER = PointLoss(lambda d: np.sqrt(1 + d * d) - 1, lambda d: d / np.sqrt(1 + d * d))
POINT_LOSSES = {"squared error": SQUARED_ERROR, "pseudo-huber": PSEUDO_HUBER}


class MLP:
    """`hidden` layers named hidden1, hidden2, … with `activation` ("relu" or "tanh"), then a linear one named out.

    Parameters carry a leading task axis: weights are (tasks, out, in), biases (tasks, out).
    """

    def __init__(self, hidden: int, activation: str, point_loss: PointLoss = SQUARED_ERROR) -> None:
        self.layers = [*(f"hidden{i}" for i in range(1, hidden + 1)), "out"]
        self.activation = activation
        self.point_loss = point_loss
        self.nearest_kink = np.inf
        """The smallest distance of a pre-activation from ReLU's kink that was met so far."""

    def predict(self, params: Mapping[str, Array], x: Array) -> Array:
        """The network's output; x (tasks, points, inputs) to (tasks, points, outputs)."""
        return self._forward(params, x)[-1]

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """The mean loss over points; x (tasks, points, inputs), y (tasks, points, outputs) to (tasks,)."""
        losses: Array = self.point_loss.value(self.predict(params, x) - y).mean(axis=(1, 2))
        return losses

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """The gradient of each task's `loss`, by back-propagation."""
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
        """The input of every layer, and last the network's output; each (tasks, points, features)."""
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
        """The activation's derivative, from its value."""
        return 1 - activated * activated if self.activation == "tanh" else np.where(activated.real > 0, 1.0, 0.0)
