"""Search for the fewest mistakes of the catalogue whose predictions fit a function's results in every probe."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.audit.catalogue import Fault, catalogue, pairs, recipe, triples
from experiments.audit.factors import Factor, Finding, law
from experiments.audit.facts import Facts, facts
from experiments.audit.fitting import Fitting
from experiments.audit.observed import Observed, fit
from experiments.audit.probes import NOTHING, Computes, Probe, norm
from experiments.judging.verify import Weights

LENIENCE = 100  # tolerances that a fit may miss: fitted numbers err a little, mistakes a lot
EQUAL = {"float64": 1e-8, "float32": 1e-2}  # relative difference within which two factors are equal
NEGLIGIBLE = 1e-6  # second factor, relative to the first
SMALL_NORMS = 1e-2  # relative error of a normalised tensor: code that normalises adds a constant to the norm
SHORT = 5  # the most inner steps that are simulated where each doubles the graph


@dataclass(frozen=True)
class Explanation:
    """Findings that explain a function's results; `residual`: the largest relative error that they leave."""

    findings: tuple[Finding, ...]
    residual: float

    @property
    def cost(self) -> int:
        """Return the number of different mistakes."""
        return len({f.identifier for f in self.findings})


class Explainer:
    """A search of the catalogue for what explains a function's results, which are by probe name.

    precision: the dtype of the computation, float64 or float32; it decides how closely a prediction has to fit.
    counts: numbers of inner steps that the function may always take, as its calls of the loss suggest.
    single: results of the first probe's tasks, one task a call.
    """

    def __init__(
        self,
        results: dict[str, Weights],
        probes: list[Probe],
        precision: str,
        counts: Iterable[int] = (),
        single: Sequence[Weights] = (),
    ) -> None:
        self.observed = Observed(results, probes)
        self.probes = self.observed.probes
        self.tolerances = {p.name: LENIENCE * p.tolerances[precision] for p in probes}
        self.equal = EQUAL[precision]
        self.facts: Facts = facts(results, probes, precision, single)
        self.fitting = Fitting(self.observed, bool(self.facts.ignores_rate))
        self.singles = catalogue(counts)
        self.alike = [replace(self.probes[0], steps=steps, lr=rate) for steps, rate in ((3, 0.3), (1, 0.3), (3, 0.1))]
        """A probe, one with another K, and one with another α."""
        self.partial: Explanation | None = None
        """The first explanation of all results but those of networks with batch normalisation."""

    def search(self, advance: Callable[[str], None] = lambda what: None, pairs_too: bool = True) -> Explanation | None:
        """Return the explanation with the fewest mistakes; None where no one, two or three of the catalogue fit.

        advance: called with a word for what comes next. pairs_too: also try two and three mistakes.
        """
        advance("single mistakes")
        best = self._fewest([(), *((fault,) for fault in self.singles)])
        best = best or self._reshaped()
        if pairs_too and (best is None or best.cost > 2):
            advance("pairs of mistakes")
            candidates = (
                two
                for two in pairs(self.singles)
                if self.partial is None or self.partial.findings or _freezes_norms(two)
            )
            best = min(filter(None, (best, self._fewest(candidates))), key=lambda e: e.cost, default=None)
        if pairs_too and best is None and not self._second_order_somewhere():
            advance("three mistakes, of which one is being first-order")
            best = self._fewest(triples(self.singles))
        if best is None and self.partial:
            best = Explanation((*self.partial.findings, Finding("batch-norm")), self.partial.residual)
        if best is None:
            return None
        lost = (Finding("no-gradient", name) for names in self.observed.missing.values() for name in names)
        return Explanation((*best.findings, *dict.fromkeys(lost)), best.residual)

    def search_with_ignored_loss(self) -> Explanation | None:
        """Explain a function that never calls its loss argument: by a squared error, alone or with one more mistake."""
        (ignored,) = (f for f in self.singles if f.identifier == "loss-ignored")
        return self._fewest([(ignored,), *(two for two in pairs(self.singles) if ignored in two)])

    def _second_order_somewhere(self) -> bool:
        """Tell whether some result is that of second-order MAML where first-order's differs."""
        return any(
            p.distance(self.observed.results[p.name], p.right["maml"]) <= self.tolerances[p.name]
            and p.distance(p.right["fomaml"], p.right["maml"]) > self.tolerances[p.name]
            for p in self.probes
        )

    def _possible(self, faults: tuple[Fault, ...]) -> bool:
        """Tell whether a function with these mistakes would ignore α and K just as the results do, and runs fast."""
        of_base, fewer, slower = self.alike
        changed = recipe(faults, tuple(f.starts[0] if f.starts else 0.0 for f in faults))
        steps = changed.steps(of_base)
        rate = changed.rate(of_base)
        no_steps = steps == changed.steps(fewer) and rate == changed.rate(fewer)
        no_rate = steps == 0 or rate == changed.rate(slower)
        if steps > SHORT and (changed.meta_parameter_steps or changed.left_over == "through"):
            return False
        known = (self.facts.ignores_steps, no_steps), (self.facts.ignores_rate, no_rate)
        return all(observed is None or observed == predicted for observed, predicted in known)

    def _fewest(self, hypotheses: Iterable[tuple[Fault, ...]]) -> Explanation | None:
        """Return the first explanation with the fewest mistakes; hypotheses come in ascending order of mistakes."""
        best: Explanation | None = None
        if self.observed.nothing:
            return None
        for faults in hypotheses:
            explanation = self.explain(faults) if self._possible(faults) else None
            if explanation and (best is None or explanation.cost < best.cost):
                best = explanation
            if best and best.cost <= max(1, len(faults)):  # none that follows can be shorter
                break
        return best

    # -- one hypothesis

    def explain(self, faults: tuple[Fault, ...]) -> Explanation | None:
        """Explain every result by these mistakes, with fitted numbers; None where they do not."""
        for values in self.fitting.values(faults):
            if explanation := self._explain(faults, values):
                return explanation
        return None

    def _explain(self, faults: tuple[Fault, ...], values: tuple[float, ...]) -> Explanation | None:
        mixed = any(f.mixed for f in faults)
        factors: list[Factor] = []
        seconds: list[float] = []
        worst = 0.0
        for probe in self.probes:
            terms, target = self.observed.predict(faults, values, probe), self.observed.target(probe)
            factor = fit(terms, target)
            residual = self.observed.error(probe, terms, factor)
            if not residual <= self.tolerances[probe.name]:
                if probe.normalised and self.partial is None:  # they come last
                    self.partial = self._named(faults, values, factors, seconds, worst)
                return None
            worst = max(worst, residual)
            sizes = [float(np.linalg.norm(t)) for t in (*terms, target)]
            if min(sizes) > NOTHING * norm(probe.right["maml"]):  # else the factors mean nothing
                factors.append(Factor(probe, float(factor[0]), sizes[0]))
                seconds.append(float(factor[-1]) if mixed else 0.0)
        return self._named(faults, values, factors, seconds, worst)

    def _named(
        self,
        faults: tuple[Fault, ...],
        values: tuple[float, ...],
        factors: list[Factor],
        seconds: list[float],
        residual: float,
    ) -> Explanation | None:
        """Return the explanation by these mistakes and by the law of the factors; None where they follow none."""
        mixed = next((f for f in faults if f.mixed), None)
        of_factors = _mixed_law(mixed, factors, seconds, self.equal) if mixed else law(factors, self.equal)
        if of_factors is None:
            return None
        named = [Finding(f.identifier, f.details.format(value=f"{v:.6g}")) for f, v in zip(faults, values, strict=True)]
        return Explanation((*named, *of_factors), residual)

    def _reshaped(self) -> Explanation | None:
        """Explain the results as MAML's or FOMAML's, clipped value by value or normalised tensor by tensor."""
        if self.observed.nothing:
            return None
        results = [self.observed.results[p.name] for p in self.probes]
        live = self.observed.live
        highest = max(float(np.abs(value).max(initial=0)) for result in results for value in result.values())

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
                    p.distance(live(p, result), live(p, reshape(p.right[computes])))
                    for p, result in zip(self.probes, results, strict=True)
                ]
                if max(distances) <= tolerance:
                    return Explanation((*before, finding), max(distances))
        return None


def _mixed_law(mixed: Fault, factors: list[Factor], seconds: list[float], equal: float) -> list[Finding] | None:
    """Return the mistakes that explain the factors of a prediction's two terms, which are by probe.

    None where the second term is negligible or the factors follow no law.
    """
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


def _freezes_norms(faults: tuple[Fault, ...]) -> bool:
    """Tell whether one of the mistakes leaves parameters of batch normalisation unadapted."""
    return any(name.startswith("norm") for f in faults for name in recipe((f,), (0.0,)).frozen)
