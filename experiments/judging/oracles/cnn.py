"""Differentiate a small convolutional network's mean squared error by hand, in NumPy, for real or complex numbers.

A block is a 3×3 convolution (padding 1), batch normalisation by the statistics of the points at hand, ReLU and 2×2
max-pooling; after the last one comes a linear layer. Branches depend on the real part, and NumPy's abs, conj and var
are not used, so every operation is analytic where it is evaluated.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.judging.oracles.mlp import Array

EPS = 1e-5
PIXELS = (1, 3, 4)  # the axes of batch normalisation's statistics: points, rows, columns


class Block(NamedTuple):
    """The arrays of a block's forward pass that its backward pass needs."""

    inputs: Array  # (tasks, points, channels, rows, columns)
    normalised: Array  # (tasks, points, filters, rows, columns), before weight and bias
    deviation: Array  # (tasks, 1, filters, 1, 1), √(variance + EPS)
    rectified: Array  # (tasks, points, filters, rows, columns)
    chosen: Array  # (tasks, points, filters, rows / 2, columns / 2, 1), the index in each window of its largest pixel


class CNN:
    """A network of `blocks` blocks with layers named conv1, norm1, conv2, norm2, …, and a linear layer named out.

    Parameters carry a leading task axis: conv weights are (tasks, filters, channels, 3, 3), norm weights and all
    biases (tasks, filters), the last weight (tasks, outputs, features).
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = range(1, blocks + 1)
        self.nearest_kink = np.inf
        """The smallest distance so far of a pre-activation from ReLU's kink, or between the two largest pixels of a
        window of max-pooling."""

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """Compute each task's mean squared error, (tasks,).

        x: (tasks, points, channels, side, side); y: (tasks, points, outputs).
        """
        residual = self._forward(params, x)[-1] - y
        losses: Array = (residual * residual).mean(axis=(1, 2))  # (tasks,)
        return losses

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient of each task's `loss` by back-propagation."""
        blocks, pooled, output = self._forward(params, x)
        delta = 2 * (output - y) / y[0].size  # (tasks, points, outputs), the derivative by the network's output
        features = pooled.reshape(*pooled.shape[:2], -1)
        grads = {"out.weight": delta.transpose(0, 2, 1) @ features, "out.bias": delta.sum(axis=1)}
        delta = (delta @ params["out.weight"]).reshape(pooled.shape)
        for i, block in zip(reversed(self.blocks), reversed(blocks), strict=True):
            delta = _unpool(delta, block.chosen) * (block.rectified.real > 0)
            grads[f"norm{i}.weight"] = (delta * block.normalised).sum(axis=PIXELS)
            grads[f"norm{i}.bias"] = delta.sum(axis=PIXELS)
            delta = delta * _channels(params[f"norm{i}.weight"])
            # the mean and the variance that were subtracted and divided by depend on every point, too
            along = (delta * block.normalised).mean(axis=PIXELS, keepdims=True) * block.normalised
            delta = (delta - delta.mean(axis=PIXELS, keepdims=True) - along) / block.deviation
            weight = params[f"conv{i}.weight"]
            grads[f"conv{i}.weight"] = _by_weight(delta, block.inputs).reshape(len(delta), *weight.shape[1:])
            grads[f"conv{i}.bias"] = delta.sum(axis=PIXELS)
            delta = _convolve(delta, weight[..., ::-1, ::-1].swapaxes(1, 2))
        return grads

    def _forward(self, params: Mapping[str, Array], x: Array) -> tuple[list[Block], Array, Array]:
        """Return every block's arrays, the last block's output, and the network's (tasks, points, outputs)."""
        blocks = []
        for i in self.blocks:
            z = _convolve(x, params[f"conv{i}.weight"]) + _channels(params[f"conv{i}.bias"])
            centred = z - z.mean(axis=PIXELS, keepdims=True)
            deviation = np.sqrt((centred * centred).mean(axis=PIXELS, keepdims=True) + EPS)
            normalised = centred / deviation
            z = normalised * _channels(params[f"norm{i}.weight"]) + _channels(params[f"norm{i}.bias"])
            rectified = np.where(z.real > 0, z, 0)
            windows = _windows(rectified)
            self._watch(z.real, windows.real)
            chosen = np.argmax(windows.real, axis=-1)[..., None]
            blocks.append(Block(x, normalised, deviation, rectified, chosen))
            x = np.take_along_axis(windows, chosen, -1)[..., 0]
        features = x.reshape(*x.shape[:2], -1)
        return blocks, x, features @ params["out.weight"].transpose(0, 2, 1) + params["out.bias"][:, None, :]

    def _watch(self, z: Array, windows: Array) -> None:
        """Update `nearest_kink`. In a window of zeros it does not matter which pixel is chosen."""
        second, first = np.moveaxis(np.sort(windows, axis=-1)[..., -2:], -1, 0)
        gaps = (first - second)[first > 0]
        self.nearest_kink = min(self.nearest_kink, float(np.abs(z).min()), float(gaps.min(initial=np.inf)))


def _channels(values: Array) -> Array:
    """Reshape one number per channel, (tasks, channels), so that it broadcasts with images."""
    return values[:, None, :, None, None]


def _patches(images: Array) -> Array:
    """Return the 3×3 pixels around every pixel, zeros outside; (tasks, points · rows · columns, channels · 9)."""
    padded = np.pad(images, [(0, 0)] * 3 + [(1, 1)] * 2)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(3, 4))
    return patches.transpose(0, 1, 3, 4, 2, 5, 6).reshape(len(images), -1, images.shape[2] * 9)


def _convolve(images: Array, weight: Array) -> Array:
    """Convolve images (tasks, points, channels, rows, columns) with weights (tasks, filters, channels, 3, 3)."""
    tasks, points, _, rows, columns = images.shape
    flat = _patches(images) @ weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1)
    return flat.reshape(tasks, points, rows, columns, -1).transpose(0, 1, 4, 2, 3)


def _by_weight(delta: Array, images: Array) -> Array:
    """Compute the derivative by a convolution's weight, (tasks, filters, channels · 9), from that by its output."""
    tasks, _, filters, _, _ = delta.shape
    return delta.transpose(0, 2, 1, 3, 4).reshape(tasks, filters, -1) @ _patches(images)


def _windows(images: Array) -> Array:
    """Cut images into 2×2 windows, (tasks, points, channels, rows / 2, columns / 2, 4)."""
    *some, rows, columns = images.shape
    split = images.reshape(*some, rows // 2, 2, columns // 2, 2)
    return split.swapaxes(-3, -2).reshape(*some, rows // 2, columns // 2, 4)


def _unpool(delta: Array, chosen: Array) -> Array:
    """Compute the derivative by the pixels from that by the windows' maxima: it goes to the chosen pixels."""
    *some, rows, columns = delta.shape
    windows = np.zeros((*delta.shape, 4), delta.dtype)
    np.put_along_axis(windows, chosen, delta[..., None], -1)
    return windows.reshape(*some, rows, columns, 2, 2).swapaxes(-3, -2).reshape(*some, 2 * rows, 2 * columns)
