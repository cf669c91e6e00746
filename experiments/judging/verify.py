"""Judge a meta-gradient: compute its error against the ground truth, and the tolerance that rounding alone explains."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.records.files import write_whole
from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.stream import Arrays

Weights = dict[str, Floats]
Oracle = Callable[[Weights, Arrays], Weights]

ULPS = 4  # by which inputs are moved
TRIALS = 6  # moves, of which the worst counts
FINER_TRIALS = 3  # moves at the size of float64's rounding
MAX_KAPPA = 1e4  # beyond it a case cannot be judged
ZERO = 1e-12  # relative norm below which a parameter's gradient is rounding
DOUBLE = float(np.finfo(np.float64).eps)
OF = "of "  # stands before the names of parameters in a file


@dataclass(frozen=True)
class Check:
    """The judgement of a meta-gradient: its `error`, the tolerance max(1e-12, 100·κ·eps) of its dtype, and κ."""

    error: float
    tolerance: float
    kappa: float

    @property
    def right(self) -> bool:
        """Tell whether the error is no more than rounding explains; never for NaN."""
        return self.error <= self.tolerance


def error(result: Weights, ground_truth: Weights) -> float:
    """Compute the error of a result g against the ground truth o: the largest of ‖gₜ − oₜ‖ / max(‖oₜ‖, 1e-6·‖o‖).

    t is a parameter. The error is infinite where a parameter is missing or a number is not finite. Where oₜ is zero but
    for rounding, as of a bias before batch normalisation or of a parameter that the loss does not use, the scale is
    ‖o‖: what remains is the rounding of terms that cancel, and these may be as large as the whole, however small κ is.
    """
    if result.keys() != ground_truth.keys():
        return float("inf")
    if not all(np.isfinite(result[name]).all() for name in result):
        return float("inf")
    whole = float(np.sqrt(sum(float(np.sum(o**2)) for o in ground_truth.values())))
    worst = 0.0
    for name, o in ground_truth.items():
        norm = float(np.linalg.norm(o))
        scale = max(norm, 1e-6 * whole) if norm > ZERO * whole else whole
        distance = float(np.linalg.norm(result[name] - o))
        worst = max(worst, distance / scale if scale else float("inf") if distance else 0.0)
    return worst


def condition(oracle: Oracle, theta: Weights, batch: Arrays, eps: float) -> float:
    """Measure κ: how many times more the ground truth changes than its inputs, at the size of the dtype's rounding.

    Every weight and point is moved by up to 4 ulp of the dtype, 6 times; the largest change counts. For ReLU networks
    this also counts the kinks that rounding can cross. Above MAX_KAPPA no further moves are tried.
    """
    return _condition(oracle, oracle(theta, batch), theta, batch, eps)


def _condition(
    oracle: Oracle, ground_truth: Weights, theta: Weights, batch: Arrays, eps: float, trials: int = TRIALS
) -> float:
    worst = 1.0
    for trial in range(trials):
        shift = _Shift(trial, ULPS * eps)
        moved = oracle({name: shift(value) for name, value in theta.items()}, Arrays(*(shift(part) for part in batch)))
        worst = max(worst, error(moved, ground_truth) / (ULPS * eps))
        if worst > MAX_KAPPA:
            break
    return worst


def cancellation(theta: Weights, displacement: Weights) -> float:
    """Compute how much θ − φ_K enlarges the weights' rounding: the largest over parameters of ‖θₜ‖ / ‖θₜ − φ_Kₜ‖.

    It is 1 where no weight moves, since θ − θ is exact.
    """
    if not any(value.any() for value in displacement.values()):
        return 1.0
    return error({name: value + theta[name] for name, value in displacement.items()}, displacement)


@dataclass(frozen=True)
class Reference:
    """The ground truth at some weights and points, and its κ in arithmetic of rounding `eps`."""

    ground_truth: Weights
    kappa: float
    eps: float

    @property
    def tolerance(self) -> float:
        """Return the error that rounding alone explains."""
        return max(1e-12, 100 * self.kappa * self.eps)

    def check(self, result: Weights) -> Check:
        """Judge a meta-gradient that was computed from the same weights and points."""
        return Check(error(result, self.ground_truth), self.tolerance, self.kappa)


def reference(oracle: Oracle, theta: Weights, batch: Arrays, eps: float, displacement: bool = False) -> Reference:
    """Compute the ground truth by an oracle, and its κ.

    displacement: the result is a difference of weights, whose rounding then counts in κ.
    """
    ground_truth = oracle(theta, batch)
    kappa = _condition(oracle, ground_truth, theta, batch, eps)
    if eps > DOUBLE:  # smaller moves also show how much the computation enlarges rounding inside it, as by cancellation
        kappa = max(kappa, _condition(oracle, ground_truth, theta, batch, DOUBLE, FINER_TRIALS))
    if displacement:
        kappa = max(kappa, cancellation(theta, ground_truth))
    return Reference(ground_truth, kappa, eps)


def load_or_compute(
    folder: Path, key: str, theta: Weights, batch: Arrays, compute: Callable[[], Reference]
) -> Reference:
    """Load a reference that another process of the same run has kept in `folder`; else compute it and keep it there.

    key: whatever the reference depends on besides the weights and points.
    """
    digest = hashlib.sha256(key.encode())
    for name, value in [*theta.items(), *batch._asdict().items()]:
        digest.update(f"{name}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    path = folder / f"{digest.hexdigest()}.npz"
    if path.exists():
        with np.load(path) as kept:
            kappa, eps = kept["kappa, eps"]
            ground_truth = {name.removeprefix(OF): kept[name] for name in kept.files if name.startswith(OF)}
        return Reference(ground_truth, float(kappa), float(eps))
    computed = compute()
    content = io.BytesIO()
    arrays: dict[str, Any] = {OF + name: value for name, value in computed.ground_truth.items()}
    np.savez(content, **arrays | {"kappa, eps": np.array([computed.kappa, computed.eps])})
    write_whole(path, content.getvalue(), durable=False)
    return computed


def by_definition(computes: str, lr: float, steps: int) -> str:
    """Explain why a first-order method's result tells nothing in an inner loop this simple; empty where it does."""
    if computes == "maml":
        return ""
    if computes == "pretraining":
        return "no inner loop: joint training"
    if lr == 0 or steps == 0:
        reason = "K = 0" if steps == 0 else "α = 0"
        return f"{reason}: {'the same as maml' if computes == 'fomaml' else 'zero'} by definition"
    joint = computes == "reptile" and steps == 1
    return "K = 1: α times the support gradient, that is, joint training" if joint else ""


class _Shift:
    """A random relative change of every number by up to `size`, the same in every process."""

    def __init__(self, trial: int, size: float) -> None:
        self.trial, self.size, self.count = trial, size, 0

    def __call__(self, values: Floats) -> Floats:
        self.count += 1
        draws = uniform(raw("ulp shifts v1", self.trial, self.count, values.size)).reshape(values.shape)
        return values * (1 + self.size * (2 * draws - 1))
