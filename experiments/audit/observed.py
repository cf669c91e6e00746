"""Compare a function's results with the predictions of a hypothesis, as vectors of the parameters that count."""

import numpy as np

from experiments.audit.catalogue import Fault, recipe
from experiments.audit.probes import NOTHING, Probe, norm
from experiments.audit.simulate import Simulation
from experiments.judging.verify import Weights
from experiments.problems.tasks.draws import Floats

Network = tuple[tuple[int, ...], str, bool]
CHEAPEST = "one step"


class Observed:
    """The results of a function by probe name, in the form that predictions are compared with.

    probes: those with results; the cheapest first, since a hypothesis is dropped at the first that it does not fit, and
        those with batch normalisation last.
    needed: by network, the parameters whose ground truth is more than rounding.
    missing: by network, those of them for which the function never has a gradient.
    """

    def __init__(self, results: dict[str, Weights], probes: list[Probe]) -> None:
        self.results = results
        order = sorted(probes, key=lambda p: (p.normalised, p.name != CHEAPEST))
        self.probes = [p for p in order if p.name in results]
        self.needed = self._needed()
        self.missing = self._missing()

    @property
    def nothing(self) -> bool:
        """Tell whether all results are zero; any hypothesis would fit them with a factor of zero."""
        return not any(np.any(self.target(p)) for p in self.probes)

    def target(self, probe: Probe) -> Floats:
        """Return a probe's result in one vector."""
        return self.vector(probe, self.results[probe.name])

    def predict(self, faults: tuple[Fault, ...], values: tuple[float, ...], probe: Probe) -> list[Floats]:
        """Predict a probe's result: one vector, or two terms that are added with unknown factors."""
        changed = recipe(faults, values)
        if changed.outer_data == "query and support":
            parts = (recipe((*faults, _outer(data)), (*values, 0.0)) for data in ("query", "support"))
            return [self.vector(probe, Simulation(part, probe).mean()[0]) for part in parts]
        result, left_over = Simulation(changed, probe).mean()
        return [self.vector(probe, result), *([self.vector(probe, left_over)] if changed.left_over else [])]

    def error(self, probe: Probe, terms: list[Floats], factors: Floats) -> float:
        """Return the error of a probe's result against terms that are combined with these factors."""
        predicted, position = {}, 0
        result = self.live(probe, self.results[probe.name])
        combined = combine(terms, factors)
        for name, value in result.items():
            predicted[name] = combined[position : position + value.size].reshape(value.shape)
            position += value.size
        return probe.distance(result, predicted)

    def live(self, probe: Probe, result: Weights) -> Weights:
        """Keep the parameters that count: those that are needed and not missing."""
        names = self.needed[probe.network] - set(self.missing[probe.network])
        return {name: value for name, value in result.items() if name in names}

    def vector(self, probe: Probe, result: Weights) -> Floats:
        """Concatenate the parameters of a result that count."""
        return np.concatenate([value.ravel() for value in self.live(probe, result).values()] or [np.zeros(0)])

    def _missing(self) -> dict[Network, list[str]]:
        lost = {network: set(names) for network, names in self.needed.items()}
        for p in self.probes:
            lost[p.network] -= {name for name, g in self.results[p.name].items() if np.any(g)}
        return {p.network: [name for name in p.theta if name in lost[p.network]] for p in self.probes}

    def _needed(self) -> dict[Network, set[str]]:
        needed: dict[Network, set[str]] = {p.network: set() for p in self.probes}
        for p in self.probes:
            whole = norm(p.right["maml"])
            needed[p.network] |= {n for n, g in p.right["maml"].items() if np.linalg.norm(g) > NOTHING * whole}
        return needed


def _outer(data: str) -> Fault:
    return Fault("", "", lambda value: {"outer_data": data})


def fit(terms: list[Floats], target: Floats) -> Floats:
    """Return the factors with which the terms come closest to the target; NaN where a term is not finite."""
    if not all(np.isfinite(term).all() for term in terms):
        return np.full(len(terms), np.nan)
    return np.asarray(np.linalg.lstsq(np.stack(terms, axis=1), target, rcond=None)[0], dtype=np.float64)


def combine(terms: list[Floats], factors: Floats) -> Floats:
    """Add up terms, multiplied by their factors."""
    return np.asarray(np.stack(terms, axis=1) @ factors, dtype=np.float64)
