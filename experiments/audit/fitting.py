"""The numbers of a hypothesis, such as an α or a momentum, with which it fits what a function left."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from experiments.audit.catalogue import Fault
from experiments.audit.observed import Observed, combine, fit
from experiments.audit.probes import STEEPEST, Probe
from experiments.problems.tasks.draws import Floats

NEWTON_STEPS = 12
MANY = 37  # six to a decade
MORE_GUESSES = 2  # for each number of several mistakes
HOPELESS = (np.inf, 0.3, 0.03)  # relative distances that Newton's method should have left behind, by its steps


class Fitting:
    """Fits numbers to what was observed; `fixed_rate`: the function takes the same α always."""

    def __init__(self, observed: Observed, fixed_rate: bool) -> None:
        self.observed, self.fixed_rate = observed, fixed_rate

    def values(self, faults: tuple[Fault, ...]) -> Iterator[tuple[float, ...]]:
        """The fitted numbers of the hypothesis, from each of its first guesses; 0 where nothing is fitted.

        Of three mistakes with numbers, nothing is fitted: there would be too much freedom.
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
        """First guesses of its number: all of them where it is alone, or an α that the function always takes."""
        if alone and fault.fit_on == STEEPEST:  # flat and steep by turns: few guesses are near enough
            return (*self._best_of_many(fault), *fault.starts)
        every = alone or (fault.identifier == "inner-lr" and self.fixed_rate)
        return fault.starts[: None if every else MORE_GUESSES] or (0.0,)

    def _best_of_many(self, fault: Fault) -> list[float]:
        """The numbers over six decades with which the fault comes nearest."""
        probe = self._fit_on(fault, alone=True)
        target = self.observed.target(probe)

        def distance(value: float) -> float:
            terms = self.observed.predict((fault,), (value,), probe)
            return float(np.linalg.norm(target - combine(terms, fit(terms, target))))

        return sorted(map(float, np.geomspace(1e-3, 1e3, MANY)), key=distance)[:3]

    def _newton(
        self, faults: tuple[Fault, ...], guess: tuple[float, ...], fitted: list[int]
    ) -> tuple[float, ...] | None:
        """The numbers with which the hypothesis fits some probes, by Gauss-Newton steps on the `fitted` ones."""
        alone = len(faults) == 1  # others have to do with less time
        asked = list({p.name: p for p in (self._fit_on(faults[i], alone) for i in fitted)}.values())
        values = np.array(guess)

        def residual(values: Floats) -> Floats:
            found = []
            for probe in asked:
                target = self.observed.target(probe)
                terms = self.observed.predict(faults, tuple(map(float, values)), probe)
                found.append((target - combine(terms, fit(terms, target))) / np.linalg.norm(target))
            return np.concatenate(found)

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
        """The probe that tells most of the fault's number."""
        named = (p for p in self.observed.probes if p.name == fault.fit_on)
        later = (p for p in self.observed.probes if p.steps > 1 and alone)
        return next(named, next(later, self.observed.probes[0]))
