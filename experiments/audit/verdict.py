"""Audit a `meta_step`: examine it, explain its results, and write the report."""

from collections.abc import Callable
from statistics import median

import numpy as np

from experiments.audit.examine import Examination, depends_on_history, diagnose_history, examine, examine_alone
from experiments.audit.explain import Explainer, Explanation
from experiments.audit.factors import Finding
from experiments.audit.facts import describe_probes, nearest_kind
from experiments.audit.notes import notes
from experiments.audit.probes import Computes, Probe
from experiments.audit.report import KINDS, VERDICTS, Evidence, Remark, Report, remarks, verdict
from experiments.audit.session import Target
from experiments.audit.simulate import Recipe, Simulation
from experiments.judging.verify import Weights

ALMOST_EXACT = ("α = 0", "quadratic")  # probes in which finite differences of the gradient err by rounding alone
FINITE_DIFFERENCES = 1e-3  # the largest error of a result that may come from them
LONGEST_LOOP = 50  # inner steps that a function may always take
NEVER_CALLED = "it never calls `loss_fn`, so nothing more is known of its loss"


def audit(target: Target, advance: Callable[[str], None] = lambda what: None, steps: int | None = None) -> Report:
    """Audit a function.

    advance: called with a word for what comes next. steps: the only K to ask for, None for several. Raises Unusable
    where the function cannot be called or answers no call.
    """
    examined = examine(target, advance, steps)
    judged = _Judgement(examined, advance)
    if (judged.right is None or examined.unsteady) and not judged.broken and not examined.random:
        advance("does it depend on earlier calls?")
        if depends_on_history(target, examined):
            judged = _Judgement(examine_alone(target, examined, advance), advance)
    return judged.report()


class _Judgement:
    """A judgement of an examination's results.

    right: the kind whose ground truth they equal, None for no kind. precision: the dtype that they are judged to.
    """

    def __init__(self, examined: Examination, advance: Callable[[str], None]) -> None:
        self.examined, self.advance = examined, advance
        self.notes: list[Remark] = []
        self.facts: list[str] = []
        self.carried = diagnose_history(examined) if examined.history and not examined.random else []
        self.results: dict[str, Weights] = {name: c.grads for name, c in examined.calls.items() if c.finite}
        self.probes = [p for p in examined.probes if p.name in self.results]
        self.not_finite = [name for name, call in examined.calls.items() if not call.finite and name != "α = 0"]
        self.precision = examined.dtype
        self.right: Computes | None = None
        if self.broken:
            return
        self.right = self._right(self.precision)
        if self.right is None and (kind := self._with_single_rate()):
            self.precision, self.right = "float32", kind
        if self.right is None and not self._by_finite_differences() and (kind := self._right("float32")):
            self.precision, self.right = "float32", kind

    @property
    def broken(self) -> bool:
        """Tell whether some result is not finite, so that there is nothing to judge."""
        return bool(self.not_finite)

    # -- what it is

    def errors(self, computes: Computes) -> dict[str, float]:
        """Return the errors against the ground truth of a kind, by probe name."""
        return {p.name: p.distance(self.results[p.name], p.right[computes]) for p in self.probes}

    def _right(self, precision: str) -> Computes | None:
        for computes in VERDICTS:
            errors = self.errors(computes)
            if all(errors[p.name] <= p.tolerances[precision] for p in self.probes):
                return computes
        return None

    def _with_single_rate(self) -> Computes | None:
        """Return the kind that the results are of if α is rounded to single precision; None for no kind."""
        kinds: dict[Computes, Recipe] = {
            "maml": Recipe(rate=_single),
            "fomaml": Recipe(rate=_single, graph=lambda k, K: False),
            "reptile": Recipe(rate=_single, result="displacement"),
        }
        for computes, rounded in kinds.items():
            if all(
                p.distance(self.results[p.name], Simulation(rounded, p).mean()[0]) <= p.tolerances["float64"]
                for p in self.probes
            ):
                return computes
        return None

    def _by_finite_differences(self) -> bool:
        """Tell whether the results are second-order MAML's with Hessian products by finite differences of gradients.

        That is, right to 0.1 %, and exact in the probes ALMOST_EXACT: an error there has another cause, such as weights
        or an α in single precision.
        """
        errors = self.errors("maml")
        if any(name not in errors for name in ALMOST_EXACT) or max(errors.values()) > FINITE_DIFFERENCES:
            return False
        (at_theta,) = (p.tolerances["float64"] for p in self.probes if p.name == "α = 0")
        return errors["α = 0"] <= at_theta and errors["quadratic"] <= 0.1 * median(errors.values())

    # -- the report

    def report(self) -> Report:
        """Write the report: verdict, findings, explanation, notes and evidence."""
        findings, residual = self._findings()
        lines = self.examined.recorded.lines if self.examined.recorded else {}
        explained = remarks(findings, lines)
        return Report(
            verdict(findings),
            explained,
            "; ".join(remark.text for remark in explained) or "it is exact in every probe",
            (*self.notes, *notes(self.examined, self.probes, self.precision)),
            self._evidence(residual),
        )

    def _findings(self) -> tuple[list[Finding], float | None]:
        examined = self.examined
        if self.broken:
            return [Finding("nan", f"in: {', '.join(self.not_finite)}")], None
        findings, residual = self._of_gradients()
        findings += [Finding(identifier) for identifier in self.carried]
        changed = sorted({name for call in examined.calls.values() for name in call.changed.get("weights", [])})
        if changed:
            every = {name for p in self.probes for name in p.theta}
            findings.append(Finding("weights-changed", "all of them" if every <= set(changed) else ", ".join(changed)))
        if missed := examined.not_answered:
            findings.append(Finding("raises", self._raised(missed)))
        return findings, residual

    def _of_gradients(self) -> tuple[list[Finding], float | None]:
        """Return the fewest mistakes that explain the gradients, and the error that they leave.

        The search of the catalogue comes last, after what can be recognised without it.
        """
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
        """Return the finding for a function that leaves no gradient, or only zeros; `stepped`: weights changed, too."""
        if stepped:
            return Finding("gradients-cleared")
        if self._never_calls_the_loss():
            return Finding("loss-ignored", NEVER_CALLED)
        return Finding("no-gradient", "none of them")

    def _explain(self) -> Explanation | None:
        """Search for the fewest mistakes; where only finite differences explain the results, write a note instead."""
        single = [call.grads for call in self.examined.single if call.finite]
        explainer = Explainer(self.results, self.probes, self.precision, self._counts(), single)
        if self._never_calls_the_loss():
            return explainer.search_with_ignored_loss()
        explanation = explainer.search(self.advance, pairs_too=not self._by_finite_differences())
        if explanation is None and self._by_finite_differences():
            self.right = "maml"
            text = f"Hessian products are finite differences: its error reaches {max(self.errors('maml').values()):.0e}"
            self.notes.append(Remark("finite-differences", text))
        if explanation is None:
            self.facts = explainer.facts.sentences()
        return explanation

    def _never_calls_the_loss(self) -> bool:
        recorded = self.examined.recorded
        return recorded is not None and not any(recorded.loss_calls[part] for part in ("support", "query", "other"))

    def _counts(self) -> set[int]:
        """Return the numbers of inner steps that its calls of the loss suggest, task by task or all tasks at once."""
        calls = self.examined.recorded.loss_calls if self.examined.recorded else {}
        tasks = len(self.examined.base.batch.support_x)
        counts = {calls.get("support", 0) // tasks, calls.get("support", 0), calls.get("other", 0) - 1}
        return {count for count in counts if 0 < count <= LONGEST_LOOP}

    def _known(self) -> str:
        """Describe results that nothing explains: what they ignore, where they are right, and what they are nearest."""
        errors: dict[Computes, dict[str, float]] = {computes: self.errors(computes) for computes in VERDICTS}
        sentences = list(self.facts)
        known: set[str] = set()
        for computes, by_probe in errors.items():
            exact = {p.name for p in self.probes if by_probe[p.name] <= p.tolerances[self.precision]}
            if not exact <= known:  # at α = 0, second-order and first-order MAML are the same
                sentences.append(f"it is {VERDICTS[computes]} {describe_probes(exact, self.probes)}")
            known |= exact
        if (near := nearest_kind(errors)) and near[1] > 1e-6:
            sentences.append(f"nearest is {VERDICTS[near[0]]}, with a relative error of {near[1]:.2g} in the median")
        return "; ".join(
            sentences or ["its results are nowhere near those of second-order or first-order MAML or Reptile"]
        )

    def _raised(self, missed: list[Probe]) -> str:
        """Describe what it raised in ordinary probes, each message once, with the first call that raised it."""
        ordinary = [p for p in self.examined.probes if not p.normalised]
        calls: dict[str, list[str]] = {}
        for probe in missed:
            calls.setdefault(self.examined.refused[probe.name], []).append(probe.called_with)
        messages = [
            f"{message} with {where[0]}" + (f" and in {len(where) - 1} more calls" if len(where) > 1 else "")
            for message, where in calls.items()
        ]
        text = f"in {len(missed)} of {len(ordinary)} probes: {'; '.join(messages)}"
        answered = {p.steps for p in ordinary} - {p.steps for p in missed}
        if len(answered) == 1 and self.examined.steps is None:
            (steps,) = answered
            text += f"; --inner-steps {steps} asks for that number of steps only"
        if self.right:
            text += f"; where it answers ({len(ordinary) - len(missed)}), it is {VERDICTS[self.right]}"
        return text

    def _evidence(self, residual: float | None) -> Evidence:
        examined = self.examined
        kinds: tuple[Computes, ...] = tuple(VERDICTS)
        return Evidence(
            versions=examined.versions,
            precision=self.precision,
            fresh_processes=bool(examined.history),
            residual=residual,
            errors={computes: self.errors(computes) for computes in kinds},
            tolerances={p.name: p.tolerances[self.precision] for p in self.probes},
            loss_calls=examined.recorded.loss_calls if examined.recorded else None,
            lines=examined.recorded.lines if examined.recorded else None,
            raised=dict(examined.refused),
            memory_growth_bytes=examined.growth,
        )


def _single(probe: Probe) -> float:
    """Return a probe's α, rounded to single precision."""
    return float(np.float32(probe.lr))
