"""What explains a result: the fewest mistakes of the catalogue whose predictions fit it in every probe."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from experiments.audit.catalogue import Fault, catalogue, pairs, recipe
from experiments.audit.factors import Factor, Finding, law
from experiments.audit.probes import NOTHING, Computes, Probe, norm
from experiments.audit.simulate import Simulation
from experiments.harness.verify import Weights
from experiments.tasks.draws import Floats

LENIENCE = 100  # numbers that are fitted err a little; mistakes err a lot
EQUAL = {"float64": 1e-8, "float32": 1e-2}
CHEAPEST = "one step"
NEGLIGIBLE = 1e-6
SMALL_NORMS = 1e-2  # code that normalises adds a constant to the norm, which the smallest ones feel
NEWTON_STEPS = 12
HOPELESS = (np.inf, 0.3, 0.03)  # relative distances that Newton's method should have left behind, by its steps


@dataclass(frozen=True)
class Explanation:
    """Findings that explain a result; `residual`: the largest relative error that they leave."""

    findings: tuple[Finding, ...]
    residual: float

    @property
    def cost(self) -> int:
        """The number of mistakes."""
        return len({f.identifier for f in self.findings})


class Explainer:
    """Searches the catalogue for what explains the results `observed`, by probe name.

    precision: the dtype of the computation, float64 or float32; it decides how closely a prediction has to fit.
    """

    def __init__(self, observed: dict[str, Weights], probes: list[Probe], precision: str) -> None:
        self.observed = observed
        self.tolerances = {p.name: LENIENCE * p.tolerances[precision] for p in probes}
        self.equal = EQUAL[precision]
        # the cheapest first: a hypothesis is dropped by the first probe that it does not fit
        self.probes = sorted((p for p in probes if p.name in observed), key=lambda p: p.name != CHEAPEST)
        self.missing = self._missing()

    def search(self, advance: Callable[[str], None] = lambda what: None, pairs_too: bool = True) -> Explanation | None:
        """The explanation with the fewest mistakes; None where no two of the catalogue explain the results."""
        singles = catalogue()
        advance("single mistakes")
        best = self._fewest([(), *((fault,) for fault in singles)])
        best = best or self._reshaped()
        if pairs_too and (best is None or best.cost > 2):
            advance("pairs of mistakes")
            best = min(filter(None, (best, self._fewest(pairs(singles)))), key=lambda e: e.cost, default=None)
        if best is None:
            return None
        lost = tuple(Finding("no-gradient", name) for name in self.missing[self.probes[0].layers])
        return Explanation((*best.findings, *lost), best.residual)

    def _fewest(self, hypotheses: Iterable[tuple[Fault, ...]]) -> Explanation | None:
        """The first of the explanations with the fewest mistakes."""
        best: Explanation | None = None
        for faults in hypotheses:
            found = self.explain(faults)
            if found and (best is None or found.cost < best.cost):
                best = found
            if best and best.cost <= max(1, len(faults)):  # none that follows can be shorter
                break
        return best

    # -- one hypothesis

    def explain(self, faults: tuple[Fault, ...]) -> Explanation | None:
        """Whether these mistakes, with the best numbers for what is fitted, explain every result."""
        for values in self._values(faults):
            if explanation := self._explain(faults, values):
                return explanation
        return None

    def _explain(self, faults: tuple[Fault, ...], values: tuple[float, ...]) -> Explanation | None:
        mixed = next((f for f in faults if f.mixed), None)
        factors, seconds, worst = [], [], 0.0
        for probe in self.probes:
            terms = self._predict(faults, values, probe)
            target = self.vector(probe, self.observed[probe.name])
            factor = _fit(terms, target)
            residual = self._error(probe, terms, factor)
            if not residual <= self.tolerances[probe.name]:
                return None
            worst = max(worst, residual)
            sizes = [float(np.linalg.norm(t)) for t in (*terms, target)]
            if min(sizes) > NOTHING * norm(probe.right["maml"]):  # else the factors mean nothing
                factors.append(Factor(probe, float(factor[0]), sizes[0]))
                seconds.append(float(factor[-1]) if mixed else 0.0)
        found = _mixed_law(mixed, factors, seconds, self.equal) if mixed else law(factors, self.equal)
        if found is None:
            return None
        named = [Finding(f.identifier, f.says.format(value=f"{v:.6g}")) for f, v in zip(faults, values, strict=True)]
        return Explanation((*named, *found), worst)

    def _reshaped(self) -> Explanation | None:
        """Second- or first-order results whose values were clipped one by one, or whose tensors were normalised."""
        found = [self.observed[p.name] for p in self.probes]
        highest = max(float(np.abs(value).max(initial=0)) for result in found for value in result.values())

        def clipped(result: Weights) -> Weights:
            return {name: np.clip(value, -highest, highest) for name, value in result.items()}

        def normalised(result: Weights) -> Weights:
            return {name: value / (np.linalg.norm(value) or 1.0) for name, value in result.items()}

        exact = max(self.tolerances.values())
        shapes = (
            (Finding("outer-clipping", f"to values of ±{highest:.4g}"), clipped, exact),
            (Finding("outer-normalised", "each tensor by itself"), normalised, SMALL_NORMS),
        )
        kinds: tuple[tuple[Computes, tuple[Finding, ...]], ...] = (("maml", ()), ("fomaml", (Finding("first-order"),)))
        for computes, before in kinds:
            for finding, reshape, tolerance in shapes:
                distances = [
                    p.distance(self.live(p, result), self.live(p, reshape(p.right[computes])))
                    for p, result in zip(self.probes, found, strict=True)
                ]
                if max(distances) <= tolerance:
                    return Explanation((*before, finding), max(distances))
        return None

    def _predict(self, faults: tuple[Fault, ...], values: tuple[float, ...], probe: Probe) -> list[Floats]:
        """One vector, or the two that are mixed with unknown factors."""
        changed = recipe(faults, values)
        if changed.outer_data == "query and support":
            parts = (recipe((*faults, _outer(data)), (*values, 0.0)) for data in ("query", "support"))
            return [self.vector(probe, Simulation(part, probe).mean()[0]) for part in parts]
        result, left_over = Simulation(changed, probe).mean()
        return [self.vector(probe, result), *([self.vector(probe, left_over)] if changed.left_over else [])]

    # -- numbers that are fitted

    def _values(self, faults: tuple[Fault, ...]) -> Iterator[tuple[float, ...]]:
        """The fitted numbers of the hypothesis, from each of its first guesses; 0 where nothing is fitted.

        Of two mistakes with numbers, nothing is fitted: there would be too much freedom.
        """
        fitted = [i for i, f in enumerate(faults) if f.starts]
        if not fitted:
            yield (0.0,) * len(faults)
        elif len(fitted) == 1:
            for start in faults[fitted[0]].starts[: None if len(faults) == 1 else 2]:
                guess = tuple(start if i in fitted else 0.0 for i in range(len(faults)))
                if (value := self._newton(faults, guess, fitted[0])) is not None:
                    yield value

    def _newton(self, faults: tuple[Fault, ...], guess: tuple[float, ...], i: int) -> tuple[float, ...] | None:
        """The numbers with which the hypothesis fits a probe, by Gauss-Newton steps on the i-th."""
        alone = len(faults) == 1  # a pair has to do with less time
        in_later_steps = alone or faults[i].identifier == "inner-momentum"
        probe, value = next((p for p in self.probes if in_later_steps and p.steps > 1), self.probes[0]), guess[i]
        target = self.vector(probe, self.observed[probe.name])
        size = float(np.linalg.norm(target))

        def with_value(v: float) -> tuple[float, ...]:
            return (*guess[:i], v, *guess[i + 1 :])

        def residual(v: float) -> Floats:
            terms = self._predict(faults, with_value(v), probe)
            return np.asarray((target - _combine(terms, _fit(terms, target))) / size, dtype=np.float64)

        for step in range(NEWTON_STEPS):
            r = residual(value)
            distance = float(np.linalg.norm(r))
            if not np.isfinite(distance) or (not alone and distance > HOPELESS[min(step, 2)]):
                return None
            h = 1e-6 * max(abs(value), 1e-3)
            slope = (residual(value + h) - r) / h
            curvature = float(slope @ slope)
            if curvature == 0:
                return None
            change = -float(slope @ r) / curvature
            value += float(np.clip(change, -0.5 * abs(value) - 1e-3, 0.5 * abs(value) + 1e-3))
            if abs(change) <= 1e-13 * abs(value):
                break
        return with_value(value)

    # -- comparing

    def _missing(self) -> dict[tuple[int, ...], list[str]]:
        """By network, the parameters that never get a gradient though the right result has one."""
        gets: dict[tuple[int, ...], set[str]] = {p.layers: set() for p in self.probes}
        for p in self.probes:
            gets[p.layers] |= {name for name, g in self.observed[p.name].items() if np.any(g)}
        return {p.layers: [name for name in p.theta if name not in gets[p.layers]] for p in self.probes}

    def live(self, probe: Probe, result: Weights) -> Weights:
        """Without the parameters that get no gradient."""
        return {name: value for name, value in result.items() if name not in self.missing[probe.layers]}

    def vector(self, probe: Probe, result: Weights) -> Floats:
        """All live parameters in one vector."""
        return np.concatenate([value.ravel() for value in self.live(probe, result).values()] or [np.zeros(0)])

    def _error(self, probe: Probe, terms: list[Floats], factor: Floats) -> float:
        expected, position = {}, 0
        found = self.live(probe, self.observed[probe.name])
        combined = _combine(terms, factor)
        for name, value in found.items():
            expected[name] = combined[position : position + value.size].reshape(value.shape)
            position += value.size
        return probe.distance(found, expected)


def _mixed_law(mixed: Fault, factors: list[Factor], seconds: list[float], equal: float) -> list[Finding] | None:
    """The law of the factors where two terms are mixed; None where the second is hardly there, or follows no law."""
    if not factors or all(abs(b) <= NEGLIGIBLE * abs(f.value) for f, b in zip(factors, seconds, strict=True)):
        return None
    if mixed.identifier == "inner-gradients":
        return law(factors, equal)
    shares = np.array([(f.value, b) for f, b in zip(factors, seconds, strict=True)])  # of query and support points
    ratio = shares[:, 0] / shares[:, 1]
    by_points = np.array([f.probe.sizes["Q"] / f.probe.sizes["S"] for f in factors])
    if np.allclose(ratio, by_points, rtol=equal):  # the mean over all points
        whole = shares.sum(axis=1)
    elif np.allclose(ratio, 1, rtol=equal):  # (Q + S) / 2 is as good a mistake as Q + S
        whole = shares[:, 0] * (2 if np.allclose(shares[:, 0] % 1, 0.5) else 1)
    else:
        return None
    return law([Factor(f.probe, float(w), f.norm) for f, w in zip(factors, whole, strict=True)], equal)


def _outer(data: str) -> Fault:
    return Fault("", "", lambda value: {"outer_data": data})


def _fit(terms: list[Floats], target: Floats) -> Floats:
    """The factors of the terms with which they come closest to the target."""
    return np.asarray(np.linalg.lstsq(np.stack(terms, axis=1), target, rcond=None)[0], dtype=np.float64)


def _combine(terms: list[Floats], factors: Floats) -> Floats:
    return np.asarray(np.stack(terms, axis=1) @ factors, dtype=np.float64)
