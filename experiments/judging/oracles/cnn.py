"""The gradient of a small convolutional network's mean squared error, by hand; complex numbers pass through it.

A block is a 3×3 convolution (padding 1), batch normalisation by the statistics of the points at hand, ReLU and 2×2
max-pooling; after the last one comes a linear layer. Branches look at the real part, and nothing takes an absolute
value, a conjugate or a variance as NumPy defines them, so every operation stays analytic where it is evaluated.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.judging.oracles.mlp import Array

EPS = 1e-5
PIXELS = (1, 3, 4)  # the axes that batch normalisation takes its statistics over: points, rows, columns


class Block(NamedTuple):
    """What the backward pass needs of a block's forward pass."""

    inputs: Array  # (tasks, points, channels, rows, columns)
    normalised: Array  # (tasks, points, filters, rows, columns), before weight and bias
    deviation: Array  # (tasks, 1, filters, 1, 1), √(variance + EPS)
    rectified: Array  # (tasks, points, filters, rows, columns)
    chosen: Array  # (tasks, points, filters, rows / 2, columns / 2, 1), the pixel of each window that is passed on


class CNN:
    """`blocks` blocks of layers named conv1, norm1, conv2, norm2, … and a linear one named out.

    Parameters carry a leading task axis: conv weights are (tasks, filters, channels, 3, 3), norm weights and all
    biases (tasks, filters), the last weight (tasks, outputs, features).
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = range(1, blocks + 1)
        self.nearest_kink = np.inf
        """The smallest distance met so far of a pre-activation from ReLU's kink, or between two pixels that
        max-pooling has to choose from."""

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """The mean over points and outputs; x (tasks, points, channels, side, side), y (tasks, points, outputs)."""
        residual = self._forward(params, x)[-1] - y
        losses: Array = (residual * residual).mean(axis=(1, 2))  # (tasks,)
        return losses

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """The gradient of each task's `loss`, by back-propagation."""
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
        """Every block, what the last one passes on, and the output (tasks, points, outputs)."""
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
        """Remember the nearest kink. In a window of zeros it does not matter which one is passed on."""
        second, first = np.moveaxis(np.sort(windows, axis=-1)[..., -2:], -1, 0)
        gaps = (first - second)[first > 0]
        self.nearest_kink = min(self.nearest_kink, float(np.abs(z).min()), float(gaps.min(initial=np.inf)))


def _channels(values: Array) -> Array:
    """One number per channel, (tasks, channels), beside images."""
    return values[:, None, :, None, None]


def _patches(images: Array) -> Array:
    """The 3×3 surroundings of every pixel, zeros outside; (tasks, points · rows · columns, channels · 9)."""
    padded = np.pad(images, [(0, 0)] * 3 + [(1, 1)] * 2)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(3, 4))
    return patches.transpose(0, 1, 3, 4, 2, 5, 6).reshape(len(images), -1, images.shape[2] * 9)


def _convolve(images: Array, weight: Array) -> Array:
    """(tasks, points, channels, rows, columns) with (tasks, filters, channels, 3, 3)."""
    tasks, points, _, rows, columns = images.shape
    flat = _patches(images) @ weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1)
    return flat.reshape(tasks, points, rows, columns, -1).transpose(0, 1, 4, 2, 3)


def _by_weight(delta: Array, images: Array) -> Array:
    """The derivative by a convolution's weight, (tasks, filters, channels · 9), from that by its output."""
    tasks, _, filters, _, _ = delta.shape
    return delta.transpose(0, 2, 1, 3, 4).reshape(tasks, filters, -1) @ _patches(images)


def _windows(images: Array) -> Array:
    """The 2×2 windows, (tasks, points, channels, rows / 2, columns / 2, 4)."""
    *some, rows, columns = images.shape
    split = images.reshape(*some, rows // 2, 2, columns // 2, 2)
    return split.swapaxes(-3, -2).reshape(*some, rows // 2, columns // 2, 4)


def _unpool(delta: Array, chosen: Array) -> Array:
    """The derivative by the pixels from that by the windows' results: all of it goes to the chosen ones."""
    *some, rows, columns = delta.shape
    windows = np.zeros((*delta.shape, 4), delta.dtype)
    np.put_along_axis(windows, chosen, delta[..., None], -1)
    return windows.reshape(*some, rows, columns, 2, 2).swapaxes(-3, -2).reshape(*some, 2 * rows, 2 * columns)
