"""Draw random numbers that are equal on every machine, torch version and device, in whatever order they are drawn.

NumPy guarantees the raw 64-bit output of its counter-based Philox generator (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3") but not that of its distributions, so uniforms are computed here from the raw output.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def raw(label: str, seed: int, index: int, count: int) -> NDArray[np.uint64]:
    """Return `count` raw 64-bit draws, a function of the arguments alone; O(count) for any index ≥ 0."""
    key = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")
    generator = np.random.Philox(key=key << 64 | seed % 2**64, counter=index << 128)
    return generator.random_raw(count)  # the low half of the counter is left to the draws of one index


def uniform(draws: NDArray[np.uint64]) -> Floats:
    """Turn raw draws into uniforms in [0, 1) with 53 random bits."""
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Source:
    """Uniforms for the tasks of a stream's meta-batches, with a digest of the raw draws behind those taken so far."""

    def __init__(self, label: str, seed: int, tasks: int, sizes: str) -> None:
        self.label, self.seed, self.tasks = label, seed, tasks
        self._hash = hashlib.sha256(f"{label} {tasks} {sizes}".encode())

    def uniforms(self, index: int, count: int) -> Floats:
        """Draw `count` uniforms for each task of meta-batch `index`, (tasks, count)."""
        draws = raw(self.label, self.seed, index, self.tasks * count)
        self._hash.update(draws.astype("<u8").tobytes())
        return uniform(draws).reshape(self.tasks, count)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of label, sizes and all raw draws so far."""
        return self._hash.hexdigest()
