"""torch's layers written for JAX: functions of weights and x, in torch's layouts, so that weights stay as they are."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from jax import Array
from torch import nn

Attributes = SimpleNamespace
Weights = dict[str, Array]
Layer = Callable[[Weights, Array], Array]
Names = Mapping[str, str]
"""What a layer calls a parameter → what the model calls it."""


def linear(layer: Attributes, names: Names) -> Layer:
    """Maps (points, in) to (points, out)."""

    def apply(weights: Weights, x: Array) -> Array:
        y = x @ weights[names["weight"]].T
        return y + weights[names["bias"]] if "bias" in names else y

    return apply


def conv2d(layer: Attributes, names: Names) -> Layer:
    """Maps (points, in, height, width) to (points, out, …); torch's layouts, so that weights stay as they are."""
    padding = layer.padding.upper() if isinstance(layer.padding, str) else [(p, p) for p in layer.padding]

    def apply(weights: Weights, x: Array) -> Array:
        y = jax.lax.conv_general_dilated(
            x,
            weights[names["weight"]],
            window_strides=layer.stride,
            padding=padding,
            rhs_dilation=layer.dilation,
            feature_group_count=layer.groups,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )
        return y + weights[names["bias"]][:, None, None] if "bias" in names else y

    return apply


def batch_norm(layer: Attributes, names: Names) -> Layer:
    """Normalise every channel by the statistics of the points at hand, the variance being the biased one."""

    def apply(weights: Weights, x: Array) -> Array:
        centred = x - x.mean((0, 2, 3), keepdims=True)
        y = centred * jax.lax.rsqrt((centred * centred).mean((0, 2, 3), keepdims=True) + layer.eps)
        if "weight" in names:
            y = y * weights[names["weight"]][:, None, None]
        return y + weights[names["bias"]][:, None, None] if "bias" in names else y

    return apply


def max_pool(layer: Attributes, names: Names) -> Layer:
    """The largest of every window, and the first of equal ones as in torch: ties decide where gradients go.

    A running maximum over the places in a window instead of `lax.reduce_window`, whose second derivatives XLA does
    not have for float64; it is fused into one pass over the data.
    """
    kernel, stride, padding, dilation = map(_pair, (layer.kernel_size, layer.stride, layer.padding, layer.dilation))

    def apply(weights: Weights, x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=-jnp.inf)
        axes = zip(x.shape[2:], kernel, stride, dilation, strict=True)
        span = [(size - d * (k - 1) - 1) // s * s + 1 for size, k, s, d in axes]
        largest = None
        for i in range(0, kernel[0] * dilation[0], dilation[0]):
            for j in range(0, kernel[1] * dilation[1], dilation[1]):
                place = x[:, :, i : i + span[0] : stride[0], j : j + span[1] : stride[1]]
                largest = place if largest is None else jnp.where(place > largest, place, largest)
        assert largest is not None
        return largest

    return apply


def flatten(layer: Attributes, names: Names) -> Layer:
    """All axes from `start_dim` to `end_dim` as one."""

    def apply(weights: Weights, x: Array) -> Array:
        end = range(x.ndim)[layer.end_dim] + 1
        return x.reshape(*x.shape[: layer.start_dim], -1, *x.shape[end:])

    return apply


LAYERS: dict[type[nn.Module], Callable[[Attributes, Names], Layer]] = {
    nn.Linear: linear,
    nn.Conv2d: conv2d,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: lambda layer, names: lambda weights, x: jax.nn.relu(x),  # its derivative at 0 is 0, as torch's
    nn.Tanh: lambda layer, names: lambda weights, x: jnp.tanh(x),
    nn.MaxPool2d: max_pool,
    nn.Flatten: flatten,
}


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
