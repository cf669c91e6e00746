"""From what a `meta_step` did to what it is."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.audit.catalogue import EXPLANATIONS, catalogue, recipe
from experiments.audit.examine import (
    LEAK_BYTES,
    Examination,
    carried_over,
    depends_on_history,
    examine,
    examine_alone,
)
from experiments.audit.explain import Explainer, Explanation
from experiments.audit.factors import Finding
from experiments.audit.probes import Computes, Probe
from experiments.audit.session import Target
from experiments.audit.simulate import Simulation
from experiments.harness.verify import Weights, error

VERDICTS: dict[Computes, str] = {
    "maml": "second-order MAML",
    "fomaml": "first-order MAML (FOMAML)",
    "reptile": "Reptile",
}
KINDS: dict[tuple[str, ...], Computes] = {(): "maml", ("first-order",): "fomaml", ("reptile",): "reptile"}
EXACT_BY_FINITE_DIFFERENCES = ("α = 0", "quadratic")
FINITE_DIFFERENCES = 1e-3
NEARLY_EXACT = 1e-7


@dataclass(frozen=True)
class Remark:
    """A mistake that was found, or a note of something that does not make a result wrong."""

    identifier: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a function is.

    verdict: "second-order MAML", "first-order MAML (FOMAML)", "Reptile", "wrong" or "unusable".
    findings: the fewest mistakes of the catalogue that explain the results.
    evidence: what the verdict rests on; errors relative to each kind's right result, by probe.
    """

    verdict: str
    findings: tuple[Remark, ...]
    explanation: str
    notes: tuple[Remark, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """The stable identifiers of the findings."""
        return tuple(finding.identifier for finding in self.findings)

    def json(self) -> dict[str, Any]:
        """The report as `--format json` prints it."""
        return {
            "verdict": self.verdict,
            "diagnosis": list(self.diagnosis),
            "explanation": self.explanation,
            "notes": [asdict(note) for note in self.notes],
            "evidence": self.evidence,
        }

    def is_expected(self, expected: Computes) -> bool:
        """Whether it is what was expected."""
        return self.verdict == VERDICTS[expected]


def audit(target: Target, advance: Callable[[str], None] = lambda what: None) -> Report:
    """Audit a function; raises Unusable where it cannot be called or does not answer."""
    examined = examine(target, advance)
    judged = _Judgement(examined, advance)
    if judged.right is None and not judged.broken:
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
        self.results: dict[str, Weights] = {name: c.grads for name, c in examined.calls.items() if c.finite}
        self.probes = [p for p in examined.probes if p.name in self.results]
        self.not_finite = [name for name, call in examined.calls.items() if not call.finite and name != "α = 0"]
        self.precision = examined.dtype
        self.right: Computes | None = None
        if self.broken or examined.random:
            return
        self.right = self._right(self.precision)
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

    def _by_finite_differences(self) -> bool:
        """Second-order within 0.1 %, and exact where finite differences of the gradient are."""
        errors = self.errors("maml")
        exact = [errors[name] for name in EXACT_BY_FINITE_DIFFERENCES if name in errors]
        return bool(exact) and max(exact) <= NEARLY_EXACT and max(errors.values()) <= FINITE_DIFFERENCES

    def _explain(self) -> Explanation | None:
        """The fewest mistakes; a note, where there is none but for finite differences."""
        explainer = Explainer(self.results, self.probes, self.precision)
        found = explainer.search(self.advance, pairs_too=not self._by_finite_differences())
        if found is None and self._by_finite_differences():
            self.right = "maml"
            text = f"Hessian products are finite differences: its error reaches {max(self.errors('maml').values()):.0e}"
            self.notes.append(Remark("finite-differences", text))
        return found

    # -- the report

    def report(self) -> Report:
        """All of it put together."""
        found, residual = self._findings()
        findings = _remarks(found)
        kind = KINDS.get(tuple(finding.identifier for finding in findings))
        self._note_changes()
        self._note_precision()
        self._note_limits()
        return Report(
            VERDICTS[kind] if kind else "wrong",
            findings,
            "; ".join(finding.text for finding in findings) or "it is exact in every probe",
            tuple(self.notes),
            self._evidence(residual),
        )

    def _findings(self) -> tuple[list[Finding], float | None]:
        examined = self.examined
        if self.broken:
            return [Finding("nan", f"in: {', '.join(self.not_finite)}")], None
        found, residual = self._of_gradients()
        if examined.history:
            carried = [Finding(identifier) for identifier in carried_over(examined)]
            if found and found[0].identifier == "unexplained" and carried:
                found = []
            found += carried
        changed = sorted({name for call in examined.calls.values() for name in call.changed.get("weights", [])})
        if changed:
            found.append(Finding("weights-changed", ", ".join(changed)))
        return found, residual

    def _of_gradients(self) -> tuple[list[Finding], float | None]:
        explanation = None if self.right or self.examined.random else self._explain()
        if self.right:
            (identifiers,) = (ids for ids, kind in KINDS.items() if kind == self.right)
            return [Finding(i) for i in identifiers], max(self.errors(self.right).values(), default=None)
        if explanation:
            return list(explanation.findings), explanation.residual
        calls = self.examined.recorded.loss_calls if self.examined.recorded else {}
        if calls and not any(calls[part] for part in ("support", "query", "other")):
            return [Finding("loss-ignored", "it is never called")], None
        return [Finding("unexplained", self._distance())], max(self.errors("maml").values(), default=None)

    def _distance(self) -> str:
        nearest = min(VERDICTS, key=lambda computes: max(self.errors(computes).values(), default=0.0))
        worst = max(self.errors(nearest).values(), default=float("nan"))
        chance = "; two calls alike, each in a fresh process, differ" if self.examined.random else ""
        return f"nearest is {VERDICTS[nearest]}, with a relative error of up to {worst:.2g}{chance}"

    # -- notes

    def _note_changes(self) -> None:
        examined = self.examined
        calls = [*examined.calls.values(), *examined.repeated]
        if examined.normalised:
            calls.append(examined.normalised)
        texts = {
            "buffers": ("buffers-changed", "a call changes buffers of a module with batch normalisation: {}"),
            "modes": ("modes-changed", "a call leaves modules in another mode, training or evaluation"),
            "requires_grad": ("requires-grad-changed", "a call changes requires_grad of: {}"),
            "grad mode": ("grad-mode-changed", "a call leaves gradients switched on or off other than before"),
            "random state": ("random-state-changed", "a call draws random numbers"),
        }
        for kind, (identifier, text) in texts.items():
            names = sorted({name for call in calls for name in call.changed.get(kind, [])})
            if names:
                few = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
                self.notes.append(Remark(identifier, text.format(few)))

    def _note_precision(self) -> None:
        examined = self.examined
        if self.precision == "float32":
            why = "takes float32 only" if examined.dtype == "float32" else "computes in float32"
            self.notes.append(Remark("single-precision", f"it {why}; it was judged to that precision"))
        first = examined.calls.get(examined.probes[0].name)
        alike = [call.grads for call in examined.repeated if first and call.finite and first.finite]
        if examined.random or (
            not examined.history and first and any(error(again, first.grads) > 0 for again in alike)
        ):
            self.notes.append(Remark("not-deterministic", "calls alike do not give the same numbers"))
        if examined.growth and examined.growth > LEAK_BYTES:
            text = f"memory grows by {examined.growth / 2**20:.1f} MiB a call, after garbage collection"
            self.notes.append(Remark("memory-grows", text))

    def _note_limits(self) -> None:
        if self.examined.one_step:
            hidden = ", ".join(self._indistinguishable())
            text = f"it takes a single inner step only and was judged for one; this could not be told: {hidden}"
            self.notes.append(Remark("one-step-only", text))
        for what, message in self.examined.refused.items():
            self.notes.append(Remark("refused", f"with {what}, it raised {message}"))

    def _indistinguishable(self) -> list[str]:
        """Identifiers whose predictions equal the right result in every probe there was."""

        def same(probe: Probe, predicted: Weights) -> bool:
            return probe.distance(predicted, probe.right["maml"]) <= 1000 * probe.tolerances[self.precision]

        found = []
        for fault in catalogue():
            if not fault.mixed and fault.common:
                made = recipe((fault,), (fault.starts[0] if fault.starts else 0.0,))
                if all(same(p, Simulation(made, p).mean()[0]) for p in self.probes):
                    found.append(fault.identifier)
        return list(dict.fromkeys(found))

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
            "memory_growth_bytes": examined.growth,
        }


def _remarks(findings: list[Finding]) -> tuple[Remark, ...]:
    """One for every identifier, with the details of all its findings."""
    details: dict[str, list[str]] = {}
    for finding in findings:
        details.setdefault(finding.identifier, []).append(finding.says)
    return tuple(
        Remark(
            identifier, EXPLANATIONS[identifier] + (f" ({beside})" if (beside := ", ".join(filter(None, says))) else "")
        )
        for identifier, says in details.items()
    )
