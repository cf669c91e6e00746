"""From what a `meta_step` did to what it is."""

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from experiments.audit.examine import Examination, carried_over, depends_on_history, examine, examine_alone
from experiments.audit.explain import Explainer, Explanation
from experiments.audit.factors import Finding
from experiments.audit.facts import how_near, what_in_common
from experiments.audit.notes import notes
from experiments.audit.probes import Computes, Probe
from experiments.audit.report import KINDS, VERDICTS, Remark, Report, remarks, verdict
from experiments.audit.session import Target
from experiments.audit.simulate import Recipe, Simulation
from experiments.judging.verify import Weights

ALMOST_EXACT = ("α = 0", "quadratic")  # probes in which finite differences of the gradient err by rounding alone
FINITE_DIFFERENCES = 1e-3
LONGEST_LOOP = 50
NEVER_CALLED = "it never calls `loss_fn`, so nothing more can be told of it"


def audit(target: Target, advance: Callable[[str], None] = lambda what: None, steps: int | None = None) -> Report:
    """Audit a function, for the K `steps` alone if it is given.

    Raises Unusable where it cannot be called, or does not answer.
    """
    examined = examine(target, advance, steps)
    judged = _Judgement(examined, advance)
    if (judged.right is None or examined.unsteady) and not judged.broken and not examined.random:
        advance("does it depend on earlier calls?")
        if depends_on_history(target, examined):
            judged = _Judgement(examine_alone(target, examined, advance), advance)
    return judged.report()


class _Judgement:
    """What explains an examination's results.

    right: the kind whose right results they are, None if of none. precision: the dtype they are right to.
    """

    def __init__(self, examined: Examination, advance: Callable[[str], None]) -> None:
        self.examined, self.advance = examined, advance
        self.notes: list[Remark] = []
        self.facts: list[str] = []
        self.carried = carried_over(examined) if examined.history and not examined.random else []
        self.results: dict[str, Weights] = {name: c.grads for name, c in examined.calls.items() if c.finite}
        self.probes = [p for p in examined.probes if p.name in self.results]
        self.not_finite = [name for name, call in examined.calls.items() if not call.finite and name != "α = 0"]
        self.precision = examined.dtype
        self.right: Computes | None = None
        if self.broken:
            return
        self.right = self._right(self.precision)
        if self.right is None and (found := self._with_single_rate()):
            self.precision, self.right = "float32", found
        if self.right is None and not self._by_finite_differences() and (found := self._right("float32")):
            self.precision, self.right = "float32", found

    @property
    def broken(self) -> bool:
        """Whether there are no numbers to judge."""
        return bool(self.not_finite)

    # -- what it is

    def errors(self, computes: Computes) -> dict[str, float]:
        """By probe, relative to the right result of a kind."""
        return {p.name: p.distance(self.results[p.name], p.right[computes]) for p in self.probes}

    def _right(self, precision: str) -> Computes | None:
        for computes in VERDICTS:
            errors = self.errors(computes)
            if all(errors[p.name] <= p.tolerances[precision] for p in self.probes):
                return computes
        return None

    def _with_single_rate(self) -> Computes | None:
        """The kind whose right results they are if α is rounded to single precision."""
        kinds: dict[Computes, Recipe] = {
            "maml": Recipe(rate=_single),
            "fomaml": Recipe(rate=_single, graph=lambda k, K: False),
            "reptile": Recipe(rate=_single, result="displacement"),
        }
        for computes, made in kinds.items():
            if all(
                p.distance(self.results[p.name], Simulation(made, p).mean()[0]) <= p.tolerances["float64"]
                for p in self.probes
            ):
                return computes
        return None

    def _by_finite_differences(self) -> bool:
        """Whether it is second-order within 0.1 %, and exact where finite differences of the gradient are.

        What is off at α = 0 has another cause, and so has what is off as much with a quadratic loss as elsewhere: a
        weight or an α in single precision.
        """
        errors = self.errors("maml")
        if any(name not in errors for name in ALMOST_EXACT) or max(errors.values()) > FINITE_DIFFERENCES:
            return False
        (at_theta,) = (p.tolerances["float64"] for p in self.probes if p.name == "α = 0")
        return errors["α = 0"] <= at_theta and errors["quadratic"] <= 0.1 * median(errors.values())

    # -- the report

    def report(self) -> Report:
        """All of it put together."""
        found, residual = self._findings()
        lines = self.examined.recorded.lines if self.examined.recorded else {}
        findings = remarks(found, lines)
        return Report(
            verdict(found),
            findings,
            "; ".join(finding.text for finding in findings) or "it is exact in every probe",
            (*self.notes, *notes(self.examined, self.probes, self.precision)),
            self._evidence(residual),
        )

    def _findings(self) -> tuple[list[Finding], float | None]:
        examined = self.examined
        if self.broken:
            return [Finding("nan", f"in: {', '.join(self.not_finite)}")], None
        found, residual = self._of_gradients()
        found += [Finding(identifier) for identifier in self.carried]
        changed = sorted({name for call in examined.calls.values() for name in call.changed.get("weights", [])})
        if changed:
            every = {name for p in self.probes for name in p.theta}
            found.append(Finding("weights-changed", "all of them" if every <= set(changed) else ", ".join(changed)))
        if missed := examined.not_answered:
            found.append(Finding("raises", self._raised(missed)))
        return found, residual

    def _of_gradients(self) -> tuple[list[Finding], float | None]:
        """The fewest mistakes; what can be seen without a search comes before what has to be searched for."""
        if self.right:
            (identifiers,) = (ids for ids, kind in KINDS.items() if kind == self.right)
            return [Finding(i) for i in identifiers], max(self.errors(self.right).values(), default=None)
        calls = list(self.examined.calls.values())
        residual = max(self.errors("maml").values(), default=None)
        if not any(grad.any() for call in calls for grad in call.grads.values()):
            return [self._of_nothing(any("weights" in call.changed for call in calls))], residual
        if self.examined.random:
            return [Finding("random")], residual
        if "stateful" in self.carried:
            return [], residual
        explained = self._explain()
        if explained:
            return list(explained.findings), explained.residual
        if self.right:  # by finite differences
            return [], residual
        if self.carried:
            return [], residual
        if self._never_calls_the_loss():
            return [Finding("loss-ignored", NEVER_CALLED)], residual
        return [Finding("unexplained", self._known())], residual

    def _of_nothing(self, stepped: bool) -> Finding:
        """What to say where no gradient is left, or nothing but zeros."""
        if stepped:
            return Finding("gradients-cleared")
        if self._never_calls_the_loss():
            return Finding("loss-ignored", NEVER_CALLED)
        return Finding("no-gradient", "none of them")

    def _explain(self) -> Explanation | None:
        """The fewest mistakes; a note, where there is none but for finite differences."""
        single = [call.grads for call in self.examined.single if call.finite]
        explainer = Explainer(self.results, self.probes, self.precision, self._counts(), single)
        if self._never_calls_the_loss():
            return explainer.own_loss()
        found = explainer.search(self.advance, pairs_too=not self._by_finite_differences())
        if found is None and self._by_finite_differences():
            self.right = "maml"
            text = f"Hessian products are finite differences: its error reaches {max(self.errors('maml').values()):.0e}"
            self.notes.append(Remark("finite-differences", text))
        if found is None:
            self.facts = explainer.facts.sentences()
        return found

    def _never_calls_the_loss(self) -> bool:
        recorded = self.examined.recorded
        return recorded is not None and not any(recorded.loss_calls[part] for part in ("support", "query", "other"))

    def _counts(self) -> set[int]:
        """The numbers of inner steps that its calls of the loss suggest: task after task, or all of them at once."""
        calls = self.examined.recorded.loss_calls if self.examined.recorded else {}
        tasks = len(self.examined.base.batch.support_x)
        found = {calls.get("support", 0) // tasks, calls.get("support", 0), calls.get("other", 0) - 1}
        return {count for count in found if 0 < count <= LONGEST_LOOP}

    def _known(self) -> str:
        """What can be said where nothing explains the results."""
        errors: dict[Computes, dict[str, float]] = {computes: self.errors(computes) for computes in VERDICTS}
        said = list(self.facts)
        known: set[str] = set()
        for computes, by_probe in errors.items():
            exact = {p.name for p in self.probes if by_probe[p.name] <= p.tolerances[self.precision]}
            if not exact <= known:  # at α = 0, second-order and first-order MAML are the same
                said.append(f"it is {VERDICTS[computes]} {what_in_common(exact, self.probes)}")
            known |= exact
        if (near := how_near(errors)) and near[1] > 1e-6:
            said.append(f"nearest is {VERDICTS[near[0]]}, with a relative error of {near[1]:.2g} in the median")
        return "; ".join(said or ["its results are nowhere near those of second-order or first-order MAML or Reptile"])

    def _raised(self, missed: list[Probe]) -> str:
        """What it raised in ordinary calls, each message once, with the calls it belongs to."""
        asked = [p for p in self.examined.probes if not p.normalised]
        calls: dict[str, list[str]] = {}
        for probe in missed:
            calls.setdefault(self.examined.refused[probe.name], []).append(probe.called_with)
        said = [
            f"{message} with {where[0]}" + (f" and in {len(where) - 1} more calls" if len(where) > 1 else "")
            for message, where in calls.items()
        ]
        text = f"in {len(missed)} of {len(asked)} probes: {'; '.join(said)}"
        answered = {p.steps for p in asked} - {p.steps for p in missed}
        if len(answered) == 1 and self.examined.steps is None:
            (steps,) = answered
            text += f"; --inner-steps {steps} asks for that number of steps only"
        if self.right:
            text += f"; where it answers ({len(asked) - len(missed)}), it is {VERDICTS[self.right]}"
        return text

    def _evidence(self, residual: float | None) -> dict[str, Any]:
        examined = self.examined
        kinds: tuple[Computes, ...] = tuple(VERDICTS)
        return {
            "versions": examined.versions,
            "precision": self.precision,
            "fresh_processes": bool(examined.history),
            "residual": residual,
            "errors": {computes: self.errors(computes) for computes in kinds},
            "tolerances": {p.name: p.tolerances[self.precision] for p in self.probes},
            "loss_calls": examined.recorded.loss_calls if examined.recorded else None,
            "lines": examined.recorded.lines if examined.recorded else None,
            "raised": dict(examined.refused),
            "memory_growth_bytes": examined.growth,
        }


def _single(probe: Probe) -> float:
    """α in single precision."""
    return float(np.float32(probe.lr))
