"""Fit the numbers of a hypothesis, such as an α or a momentum, to a function's results."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from experiments.audit.catalogue import Fault
from experiments.audit.observed import Observed, combine, fit
from experiments.audit.probes import STEEPEST, Probe
from experiments.problems.tasks.draws import Floats

NEWTON_STEPS = 12
MANY = 37  # first guesses, six to a decade
MORE_GUESSES = 2  # for each number, where several mistakes are fitted together
HOPELESS = (np.inf, 0.3, 0.03)  # relative distances at which Newton's method is given up, after 0, 1, 2 … steps


class Fitting:
    """A fit of numbers to a function's results; `fixed_rate`: the function seems to take the same α always."""

    def __init__(self, observed: Observed, fixed_rate: bool) -> None:
        self.observed, self.fixed_rate = observed, fixed_rate

    def values(self, faults: tuple[Fault, ...]) -> Iterator[tuple[float, ...]]:
        """Yield the fitted numbers of a hypothesis, once for each of its first guesses; 0 for faults without a number.

        Yield nothing where three faults have numbers: so many could fit anything.
        """
        fitted = [i for i, f in enumerate(faults) if f.starts]
        guesses = [self._guesses(f, len(faults) == 1) for f in faults]
        if not fitted:
            yield (0.0,) * len(faults)
        elif len(fitted) < 3:
            for guess in product(*guesses):
                if (values := self._newton(faults, guess, fitted)) is not None:
                    yield values

    def _guesses(self, fault: Fault, alone: bool) -> tuple[float, ...]:
        """Return first guesses of a fault's number: all where it is alone or the only α, else MORE_GUESSES of them."""
        if alone and fault.fit_on == STEEPEST:  # flat and steep by turns: few guesses are near enough
            return (*self._best_of_many(fault), *fault.starts)
        every = alone or (fault.identifier == "inner-lr" and self.fixed_rate)
        return fault.starts[: None if every else MORE_GUESSES] or (0.0,)

    def _best_of_many(self, fault: Fault) -> list[float]:
        """Return the three of MANY numbers over six decades with which the fault comes nearest."""
        probe = self._fit_on(fault, alone=True)
        target = self.observed.target(probe)

        def distance(value: float) -> float:
            terms = self.observed.predict((fault,), (value,), probe)
            return float(np.linalg.norm(target - combine(terms, fit(terms, target))))

        return sorted(map(float, np.geomspace(1e-3, 1e3, MANY)), key=distance)[:3]

    def _newton(
        self, faults: tuple[Fault, ...], guess: tuple[float, ...], fitted: list[int]
    ) -> tuple[float, ...] | None:
        """Fit the numbers at the indices `fitted` by Gauss-Newton steps on a few probes; None where it fails."""
        alone = len(faults) == 1  # pairs are many, so less time is spent on each
        chosen = list({p.name: p for p in (self._fit_on(faults[i], alone) for i in fitted)}.values())
        values = np.array(guess)

        def residual(values: Floats) -> Floats:
            residuals = []
            for probe in chosen:
                target = self.observed.target(probe)
                terms = self.observed.predict(faults, tuple(map(float, values)), probe)
                residuals.append((target - combine(terms, fit(terms, target))) / np.linalg.norm(target))
            return np.concatenate(residuals)

        for step in range(NEWTON_STEPS):
            r = residual(values)
            distance = float(np.linalg.norm(r))
            if not np.isfinite(distance) or (not alone and distance > HOPELESS[min(step, 2)]):
                return None
            if distance == 0:
                break
            slopes = []
            for i in fitted:
                moved = values.copy()
                moved[i] += (h := 1e-6 * max(abs(values[i]), 1e-3))
                slopes.append((residual(moved) - r) / h)
            if not all(np.any(slope) and np.isfinite(slope).all() for slope in slopes):
                return None
            change = -np.linalg.lstsq(np.stack(slopes, axis=1), r, rcond=None)[0]
            limit = 0.5 * np.abs(values[fitted]) + 1e-3
            values[fitted] += np.clip(change, -limit, limit)
            if np.all(np.abs(change) <= 1e-13 * np.abs(values[fitted])):
                break
        return tuple(map(float, values))

    def _fit_on(self, fault: Fault, alone: bool) -> Probe:
        """Return the probe whose result depends most on the fault's number."""
        named = (p for p in self.observed.probes if p.name == fault.fit_on)
        later = (p for p in self.observed.probes if p.steps > 1 and alone)
        return next(named, next(later, self.observed.probes[0]))
