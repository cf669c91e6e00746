"""The random numbers that a model may draw: to compute a step again is to draw the same ones."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class RandomState:
    """Where torch's default generators, NumPy's global one and Python's are now."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.torch = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else self.torch
        self.numpy = np.random.get_state(legacy=False)
        self.python = random.getstate()

    def same(self, other: "RandomState") -> bool:
        """Whether nothing was drawn between the two."""
        torchs = torch.equal(self.torch, other.torch) and torch.equal(self.cuda, other.cuda)
        return torchs and self.same_beside_torch(other)

    def same_beside_torch(self, other: "RandomState") -> bool:
        """Whether nothing was drawn between the two from NumPy's and Python's generators."""
        mine, others = self.numpy["state"], other.numpy["state"]
        same = mine["pos"] == others["pos"] and np.array_equal(mine["key"], others["key"])
        return same and self.python == other.python

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw from here on what was drawn then; afterwards all are where they were before."""
        now = RandomState(self.device)
        self._set()
        try:
            yield
        finally:
            now._set()

    def _set(self) -> None:
        torch.set_rng_state(self.torch)
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.cuda, self.device)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
