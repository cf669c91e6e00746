"""Is this meta-gradient right? The error against an oracle, and the tolerance that rounding alone explains."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.stream import Arrays

Weights = dict[str, Floats]
Oracle = Callable[[Weights, Arrays], Weights]

ULPS = 4
TRIALS = 6
FINER_TRIALS = 3
MAX_KAPPA = 1e4
ZERO = 1e-12  # relative to the whole; below it is rounding
DOUBLE = float(np.finfo(np.float64).eps)
OF = "of "  # before the names of parameters in a file


@dataclass(frozen=True)
class Check:
    """error and kappa as below; tolerance = max(1e-12, 100·κ·eps) of the dtype that was checked."""

    error: float
    tolerance: float
    kappa: float

    @property
    def right(self) -> bool:
        """Whether the error is no more than rounding explains; never for NaN."""
        return self.error <= self.tolerance


def error(found: Weights, expected: Weights) -> float:
    """The largest over parameters of ‖gₜ − oₜ‖ / max(‖oₜ‖, 1e-6·‖o‖); infinite where a parameter is missing.

    Where oₜ is zero but for the oracle's own rounding, as of a bias before batch normalisation or of a parameter that
    the loss does not use, the scale is ‖o‖: what is left is the rounding of terms that cancel, and these are as large
    as the whole, however small the case's κ is.
    """
    if found.keys() != expected.keys():
        return float("inf")
    if not all(np.isfinite(found[name]).all() for name in found):
        return float("inf")
    whole = float(np.sqrt(sum(float(np.sum(o**2)) for o in expected.values())))
    worst = 0.0
    for name, o in expected.items():
        norm = float(np.linalg.norm(o))
        scale = max(norm, 1e-6 * whole) if norm > ZERO * whole else whole
        distance = float(np.linalg.norm(found[name] - o))
        worst = max(worst, distance / scale if scale else float("inf") if distance else 0.0)
    return worst


def condition(oracle: Oracle, theta: Weights, batch: Arrays, eps: float) -> float:
    """κ: by how many times the oracle's result changes more than its inputs did, at the size of the dtype's rounding.

    Every weight and point is moved by up to 4 ulp of the dtype, 6 times; the largest change counts. For ReLU networks
    this also counts the kinks that rounding can cross. Beyond MAX_KAPPA the rest is not tried.
    """
    return _condition(oracle, oracle(theta, batch), theta, batch, eps)


def _condition(
    oracle: Oracle, expected: Weights, theta: Weights, batch: Arrays, eps: float, trials: int = TRIALS
) -> float:
    worst = 1.0
    for trial in range(trials):
        shift = _Shift(trial, ULPS * eps)
        moved = oracle({name: shift(value) for name, value in theta.items()}, Arrays(*(shift(part) for part in batch)))
        worst = max(worst, error(moved, expected) / (ULPS * eps))
        if worst > MAX_KAPPA:
            break
    return worst


def cancellation(theta: Weights, displacement: Weights) -> float:
    """How much rounding the adapted weights costs θ − φ_K: the largest over parameters of ‖θₜ‖ / ‖θₜ − φ_Kₜ‖.

    Nothing where no weight moves: θ − θ is exact.
    """
    if not any(value.any() for value in displacement.values()):
        return 1.0
    return error({name: value + theta[name] for name, value in displacement.items()}, displacement)


@dataclass(frozen=True)
class Reference:
    """What the oracle says of a meta-batch, and how much that is worth in arithmetic of rounding `eps`."""

    expected: Weights
    kappa: float
    eps: float

    @property
    def tolerance(self) -> float:
        """The error that rounding alone explains."""
        return max(1e-12, 100 * self.kappa * self.eps)

    def check(self, found: Weights) -> Check:
        """Judge a meta-gradient that was computed from just these weights and points."""
        return Check(error(found, self.expected), self.tolerance, self.kappa)


def reference(oracle: Oracle, theta: Weights, batch: Arrays, eps: float, displacement: bool = False) -> Reference:
    """Ask the oracle, and how much that is worth.

    displacement: the result is a difference of weights, whose rounding then counts in κ.
    """
    expected = oracle(theta, batch)
    kappa = _condition(oracle, expected, theta, batch, eps)
    if eps > DOUBLE:  # where it shows, too, how much rounding inside the computation is enlarged, as by cancellation
        kappa = max(kappa, _condition(oracle, expected, theta, batch, DOUBLE, FINER_TRIALS))
    if displacement:
        kappa = max(kappa, cancellation(theta, expected))
    return Reference(expected, kappa, eps)


def remembered(folder: Path, said: str, theta: Weights, batch: Arrays, make: Callable[[], Reference]) -> Reference:
    """What `make` gives, or gave another process of the same run that kept it in `folder`.

    said: whatever the reference depends on besides the weights and points.
    """
    told = hashlib.sha256(said.encode())
    for name, value in [*theta.items(), *batch._asdict().items()]:
        told.update(f"{name}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    path = folder / f"{told.hexdigest()}.npz"
    if path.exists():
        with np.load(path) as kept:
            kappa, eps = kept["kappa, eps"]
            expected = {name.removeprefix(OF): kept[name] for name in kept.files if name.startswith(OF)}
        return Reference(expected, float(kappa), float(eps))
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, delete=False) as file:  # never half a file under the name that is read
        arrays: dict[str, Any] = {OF + name: value for name, value in made.expected.items()}
        np.savez(file, **arrays | {"kappa, eps": np.array([made.kappa, made.eps])})
    Path(file.name).replace(path)
    return made


def by_definition(computes: str, lr: float, steps: int) -> str:
    """What a first-order result says nothing about, because of the case's inner loop; empty where it says something."""
    if computes == "maml":
        return ""
    if computes == "pretraining":
        return "no inner loop: joint training"
    if lr == 0 or steps == 0:
        why = "K = 0" if steps == 0 else "α = 0"
        return f"{why}: {'the same as maml' if computes == 'fomaml' else 'zero'} by definition"
    joint = computes == "reptile" and steps == 1
    return "K = 1: α times the support gradient, that is, joint training" if joint else ""


class _Shift:
    """Moves every number by a random share of `size`, relatively; the same moves in every process."""

    def __init__(self, trial: int, size: float) -> None:
        self.trial, self.size, self.count = trial, size, 0

    def __call__(self, values: Floats) -> Floats:
        self.count += 1
        draws = uniform(raw("ulp shifts v1", self.trial, self.count, values.size)).reshape(values.shape)
        return values * (1 + self.size * (2 * draws - 1))
