"""Wrap a network's gradient for networks with tied, frozen or unused parameters.

A wrapper completes the parameters to those of the wrapped network, and turns the wrapped network's gradient into that
of the parameters that the optimizer has.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from experiments.judging.oracles.mlp import Array


class Network(Protocol):
    """A network's loss and gradient, for real or complex parameters with a leading task axis."""

    @property
    def nearest_kink(self) -> float:
        """Return the smallest distance so far of a unit from where its derivative jumps."""

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """Compute each task's loss, (tasks,)."""

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient of each task's loss by every parameter."""


class _Wrapper(ABC):
    def __init__(self, network: Network) -> None:
        self.network = network

    @property
    def nearest_kink(self) -> float:
        """Return the smallest distance so far of a unit of the wrapped network from where its derivative jumps."""
        return self.network.nearest_kink

    def loss(self, params: Mapping[str, Array], x: Array, y: Array) -> Array:
        """Compute each task's loss by the wrapped network, (tasks,)."""
        return self.network.loss(self._full(params), x, y)

    @abstractmethod
    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Complete the parameters to those of the wrapped network."""


class Tied(_Wrapper):
    """A network with tied parameters, whose gradients add up; `same`: a parameter → the one whose tensor it shares."""

    def __init__(self, network: Network, same: Mapping[str, str]) -> None:
        super().__init__(network)
        self.same = same

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient by every tensor, tied ones once."""
        grads = self.network.gradient(self._full(params), x, y)
        for name, shared in self.same.items():
            grads[shared] = grads[shared] + grads.pop(name)
        return grads

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {**params, **{name: params[shared] for name, shared in self.same.items()}}


class Frozen(_Wrapper):
    """A network with frozen parameters, which have no gradient; `constants`: their values, without a task axis."""

    def __init__(self, network: Network, constants: Mapping[str, Array]) -> None:
        super().__init__(network)
        self.constants = {name: value[None] for name, value in constants.items()}

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient by every trained parameter."""
        grads = self.network.gradient(self._full(params), x, y)
        return {name: grads[name] for name in params}

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {**params, **self.constants}


class Unused(_Wrapper):
    """A network with parameters, `names`, that its loss does not depend on; their gradient is exactly zero."""

    def __init__(self, network: Network, names: frozenset[str]) -> None:
        super().__init__(network)
        self.names = names

    def gradient(self, params: Mapping[str, Array], x: Array, y: Array) -> dict[str, Array]:
        """Compute the gradient by every parameter, used or not."""
        return {**self.network.gradient(self._full(params), x, y), **{n: np.zeros_like(params[n]) for n in self.names}}

    def _full(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return {name: value for name, value in params.items() if name not in self.names}
