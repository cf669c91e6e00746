"""Compute the golden values of a case, and compare values built anew with old ones."""

import math
from dataclasses import replace

import numpy as np

from experiments.judging.golden.cases import ALL, GoldenCase
from experiments.judging.golden.files import Golden
from experiments.judging.oracles.curvature import largest_eigenvalue
from experiments.judging.oracles.described import Oracle, Weights, frozen_parameters, network, shapes
from experiments.judging.oracles.sweep import Computes
from experiments.judging.verify import MAX_KAPPA, cancellation, condition, error
from experiments.problems.tasks import family
from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.stream import Arrays, Stream

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float64", "float32")}
NEAREST_KINK = {"float64": 1e-9, "float32": 1e-5}
"""The distance of a unit from its kink below which another order of summation may put it on the other side."""


class Rejected(ValueError):
    """Raised where a case cannot be judged; the message says why."""


def inputs(case: GoldenCase) -> Golden:
    """Draw the points and weights of a case and compute its α; there are no results yet."""
    stream = Stream(family(case.family), case.seed, case.tasks, case.shots, case.queries, "golden")
    batch = Arrays(*map(_as_float32, stream.batch(0)))
    if "side" in case.description:
        images = (case.description.integer("channels"), *[case.description.integer("side")] * 2)
        support_x, query_x = (part.reshape(*part.shape[:2], *images) for part in (batch.support_x, batch.query_x))
        batch = batch._replace(support_x=support_x, query_x=query_x)
    weights = _weights(case)
    steepest = _curvature(case, weights, batch)
    lr = float(np.float32(case.lr if case.curvature is None else case.curvature / steepest))
    return Golden(case.name, case.description, case.steps, lr, _rounded(lr * steepest), {}, weights, batch, {})


def results(golden: Golden, computes: tuple[Computes, ...] = ALL) -> dict[str, Weights]:
    """Compute the ground truth of each kind; raises Rejected where a unit lies too near to its kink."""
    oracle = Oracle(golden.description, golden.lr, golden.steps)
    meta_gradients: dict[str, Weights] = {kind: oracle(kind, golden.weights, golden.batch) for kind in computes}
    for dtype, distance in NEAREST_KINK.items():
        if oracle.nearest_kink < distance:
            raise Rejected(f"a unit is {oracle.nearest_kink:.0e} from its kink, which {dtype} may cross")
    return meta_gradients


def kappas(golden: Golden, computes: tuple[Computes, ...] = ALL) -> dict[str, dict[str, float]]:
    """Measure κ of each kind and dtype, rounded to two digits; raises Rejected where one is too large."""
    oracle = Oracle(golden.description, golden.lr, golden.steps)
    kappa_of: dict[str, dict[str, float]] = {}
    for kind in computes:

        def of(weights: Weights, batch: Arrays, kind: Computes = kind) -> Weights:
            return oracle(kind, weights, batch)

        least = cancellation(golden.weights, of(golden.weights, golden.batch)) if kind == "reptile" else 1.0
        for dtype, eps in EPS.items():
            kappa = max(least, condition(of, golden.weights, golden.batch, eps))
            if not kappa <= MAX_KAPPA:
                raise Rejected(f"it is ill-conditioned for {kind} in {dtype} (κ = {kappa:.0e})")
            kappa_of.setdefault(kind, {})[dtype] = _rounded(kappa)
    return kappa_of


def build(case: GoldenCase) -> Golden:
    """Compute all golden values of a case; raises Rejected where it cannot be judged."""
    golden = inputs(case)
    return replace(golden, meta_gradients=results(golden, case.computes), kappa=kappas(golden, case.computes))


def changes(old: Golden, new: Golden) -> list[str]:
    """Name what differs: inputs that are not equal, results by more than rounding explains, κ by a factor of 3."""
    differences = [name for name in ("description", "steps", "lr") if getattr(old, name) != getattr(new, name)]
    if not _equal(old.weights, new.weights):
        differences.append("weights")
    if not _equal(old.batch._asdict(), new.batch._asdict()):
        differences.append("points")
    if old.meta_gradients.keys() != new.meta_gradients.keys():
        return [*differences, "what is computed"]
    for kind, meta_gradient in new.meta_gradients.items():
        distance = error(meta_gradient, old.meta_gradients[kind])
        if distance > 100 * old.kappa[kind]["float64"] * EPS["float64"]:
            differences.append(f"{kind} by {distance:.0e}")
        for dtype, kappa in new.kappa.get(kind, {}).items():
            if not 1 / 3 < kappa / old.kappa[kind][dtype] < 3:  # it is measured at the size of rounding itself
                differences.append(f"κ of {kind} in {dtype} from {old.kappa[kind][dtype]:g} to {kappa:g}")
    return differences


def _weights(case: GoldenCase) -> Weights:
    """Draw weights from U[−b, b] with b = 1/√fan_in, or 1/2 for biases; normalisation weights plus 1; then scaled."""
    weights = {}
    for index, (name, shape) in enumerate(shapes(case.description).items()):
        bound = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.5
        draws = uniform(raw("golden weights v1", case.seed, index, math.prod(shape))).reshape(shape)
        around = 1.0 if name.startswith("norm") and name.endswith("weight") else 0.0
        weights[name] = _as_float32(case.scale.get(name, 1.0) * (around + bound * (2 * draws - 1)))
    return weights


def _curvature(case: GoldenCase, weights: Weights, batch: Arrays) -> float:
    """Compute λ_max, the largest eigenvalue over tasks of the support loss' Hessian at the case's weights."""
    frozen = frozen_parameters(case.description)
    described = network(case.description, {name: weights[name] for name in frozen})
    trained = {name: value for name, value in weights.items() if name not in frozen}
    theta = {name: np.broadcast_to(value, (case.tasks, *value.shape)) for name, value in trained.items()}
    return largest_eigenvalue(lambda phi: described.gradient(phi, batch.support_x, batch.support_y), theta)


def _as_float32(values: Floats) -> Floats:
    """Round to float32, so that float64 and float32 start from equal numbers and libm's last bits do not matter."""
    return values.astype(np.float32).astype(np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _equal(old: Weights, new: Weights) -> bool:
    return old.keys() == new.keys() and all(np.array_equal(old[name], new[name]) for name in old)
