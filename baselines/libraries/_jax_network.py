"""A network of torch modules, written for JAX: a pure function of its parameters.

    forward(describe(model))(weights, x) = model(x),   weights by their names in `model.named_parameters()`

Only what is listed in `LAYERS` has a counterpart; `missing` names what has none. A tensor that is tied is one weight
under one name, and one that nothing uses is simply never looked up.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from torch import nn

from baselines._shared.module_state import replaced, stock
from baselines.libraries._jax_layers import LAYERS, Layer, Weights

Loss = Callable[[Weights, Weights, Array, Array], Array]
"""Of φ, what is frozen, x and y; scalar."""
ATTRIBUTES = ("stride", "padding", "dilation", "groups", "eps", "kernel_size", "start_dim", "end_dim")
TENSORS = ("weight", "bias")


class Part(NamedTuple):
    """A layer as it is: its type, those of its attributes that count, and what the model calls its tensors."""

    kind: type[nn.Module]
    attributes: tuple[tuple[str, Any], ...]
    names: tuple[tuple[str, str], ...]


Network = tuple[Part, ...]


def describe(model: nn.Module) -> Network:
    """What `model` is at present, but for the values of its parameters: all that `forward` looks at."""
    assert isinstance(model, nn.Sequential)
    model_names = {id(p): name for name, p in model.named_parameters()}
    return tuple(
        Part(
            type(layer),
            tuple((key, _hashable(getattr(layer, key))) for key in ATTRIBUTES if hasattr(layer, key)),
            tuple((own, model_names[id(p)]) for own, p in layer.named_parameters() if own in TENSORS),
        )
        for layer in _layers(model)
    )


def forward(network: Network) -> Layer:
    """The function that a model computes, of its weights and x, (points, …)."""
    layers = [LAYERS[kind](SimpleNamespace(**dict(attributes)), dict(names)) for kind, attributes, names in network]

    def apply(weights: Weights, x: Array) -> Array:
        for layer in layers:
            x = layer(weights, x)
        return x

    return apply


def missing(model: nn.Module) -> str | None:
    """What has no counterpart here, by its type; None where all has one."""
    if type(model) is not nn.Sequential:
        return f"{type(model).__name__}, which is not a plain nn.Sequential"
    for layer in _layers(model):
        name = type(layer).__name__
        if type(layer) not in LAYERS:
            return name
        if isinstance(layer, nn.BatchNorm2d) and (layer.track_running_stats or layer.running_mean is not None):
            return f"{name} with running statistics"
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            return f"{name} with padding_mode={layer.padding_mode}"
        if isinstance(layer, nn.MaxPool2d) and (layer.ceil_mode or layer.return_indices):
            return f"{name} with {'ceil_mode' if layer.ceil_mode else 'return_indices'}"
        if any(getattr(layer, key, None) is not None and key not in layer._parameters for key in TENSORS):
            return f"{name} whose weight or bias is no parameter"
    kinds = {f"a parameter that is a {type(p).__name__}" for p in model.parameters() if type(p) is not nn.Parameter}
    if any(p.is_complex() for p in model.parameters()):
        kinds.add("complex parameters")
    return replaced(model) or next(iter(sorted(kinds)), None if stock(model) else "a forward that torch's layer lacks")


def squared_error(network: Layer, phi: Weights, frozen: Weights, x: Array, y: Array) -> Array:
    """The squared error, the mean over points and outputs, at parameters φ; scalar."""
    difference = network(phi | frozen, x) - y
    return jnp.mean(difference * difference)


def descend(phi: Weights, direction: Weights, lr: float) -> Weights:
    """φ − α·d, parameter by parameter."""
    return {name: p - lr * direction[name] for name, p in phi.items()}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _layers(model: nn.Sequential) -> Iterator[nn.Module]:
    """In the order in which they are called, those of nested nn.Sequentials too."""
    for layer in model:
        if type(layer) is nn.Sequential:
            yield from _layers(layer)
        else:
            yield layer
