"""Differentiate a batch-normalised perceptron's mean loss by hand, in NumPy, for real or complex numbers."""

from collections.abc import Mapping

import numpy as np

from experiments.judging.oracles.cnn import EPS
from experiments.judging.oracles.mlp import MLP, Array


class NormalisedMLP(MLP):
    """An `MLP` with batch normalisation named norm1, norm2, … between every hidden layer and its activation.

    It normalises by the points at hand and keeps no running statistics. Weights and biases of a normalisation are
    (tasks, width).
    """

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient of each task's `loss` by back-propagation."""
        inputs = self._forward(params, x)
        delta = self.point_loss.slope(inputs[-1] - y) / y[0].size  # (tasks, points, outputs), by the network's output
        grads: dict[str, Array] = {}
        for i in reversed(range(len(self.layers))):
            name = self.layers[i]
            if name != "out":
                delta = self._through_normalisation(name, params, inputs[i], delta * self._slope(inputs[i + 1]), grads)
            grads[f"{name}.weight"] = delta.transpose(0, 2, 1) @ inputs[i]
            grads[f"{name}.bias"] = delta.sum(axis=1)
            delta = delta @ params[f"{name}.weight"]
        return grads

    def _forward(self, params: Mapping[str, Array], x: Array) -> list[Array]:
        """Return the input of every layer, and last the network's output; each (tasks, points, features)."""
        inputs = [x]
        for name in self.layers:
            z = _linear(params, name, inputs[-1])
            if name != "out":
                normalised, _ = _normalise(z)
                norm = _norm(name)
                z = self._activate(normalised * params[f"{norm}.weight"][:, None] + params[f"{norm}.bias"][:, None])
            inputs.append(z)
        return inputs

    def _through_normalisation(
        self, name: str, params: Mapping[str, Array], x: Array, delta: Array, grads: dict[str, Array]
    ) -> Array:
        """Compute the derivative by a normalisation's input from that by its output; add its parameters' to `grads`."""
        normalised, deviation = _normalise(_linear(params, name, x))
        norm = _norm(name)
        grads[f"{norm}.weight"] = (delta * normalised).sum(axis=1)
        grads[f"{norm}.bias"] = delta.sum(axis=1)
        delta = delta * params[f"{norm}.weight"][:, None]
        # the mean and the variance that were subtracted and divided by depend on every point, too
        along = (delta * normalised).mean(axis=1, keepdims=True) * normalised
        through: Array = (delta - delta.mean(axis=1, keepdims=True) - along) / deviation
        return through


def _norm(layer: str) -> str:
    """Return the name of the normalisation after a hidden layer."""
    return layer.replace("hidden", "norm")


def _linear(params: Mapping[str, Array], name: str, x: Array) -> Array:
    z: Array = x @ params[f"{name}.weight"].transpose(0, 2, 1) + params[f"{name}.bias"][:, None, :]
    return z


def _normalise(z: Array) -> tuple[Array, Array]:
    """Normalise (tasks, points, features) to mean 0 and variance 1 over points; return it and the deviation."""
    centred = z - z.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPS)
    return centred / deviation, deviation
