"""Networks whose parameters are not simply all different, trained and used; each wraps the gradient of another.

A wrapper passes the wrapped network's parameters on in their full number, and makes what comes back the gradient of
those that the optimizer sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from experiments.judging.oracles.mlp import Array


class Network(Protocol):
    """A loss and its gradient; parameters carry a leading task axis, and complex ones pass through."""

    @property
    def nearest_kink(self) -> float:
        """The smallest distance met so far from where the derivative jumps."""

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """(tasks,)."""

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Of each task's loss, by every parameter."""


class _Wrapper(ABC):
    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def nearest_kink(self) -> float:
        """The wrapped network's."""
        return self.network.nearest_kink

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """The wrapped network's, (tasks,)."""
        return self.network.loss(self._full(params), x, y)

    @abstractmethod
    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """The parameters that the wrapped network has."""


class Tied(_Wrapper):
    """`same`: a parameter of the network → the one whose tensor it shares. Their gradients add up."""

    def __init__(self, network: Network, same: Mapping[str, str]) -> None:
        super().__init__(network)
        self.same = same

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """By every tensor once."""
        grads = self.network.gradient(self._full(params), x, y)
        for name, shared in self.same.items():
            grads[shared] = grads[shared] + grads.pop(name)
        return grads

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {**params, **{name: params[shared] for name, shared in self.same.items()}}


class Frozen(_Wrapper):
    """`constants`: parameters that nobody trains, without a task axis. They have no gradient."""

    def __init__(self, network: Network, constants: Mapping[str, Array]) -> None:
        super().__init__(network)
        self.constants = {name: value[None] for name, value in constants.items()}

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """By every parameter that is trained."""
        grads = self.network.gradient(self._full(params), x, y)
        return {name: grads[name] for name in params}

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {**params, **self.constants}


class Unused(_Wrapper):
    """`names`: parameters that the loss does not depend on. Their gradient is exactly zero."""

    def __init__(self, network: Network, names: frozenset[str]) -> None:
        super().__init__(network)
        self.names = names

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """By every parameter, used or not."""
        return {**self.network.gradient(self._full(params), x, y), **{n: np.zeros_like(params[n]) for n in self.names}}

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {name: value for name, value in params.items() if name not in self.names}
