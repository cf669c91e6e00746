"""What an audit says: a verdict, the mistakes that explain it, notes, and the evidence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.audit.catalogue import EXPLANATIONS, PLACES
from experiments.audit.factors import Finding
from experiments.audit.probes import Computes

VERDICTS: dict[Computes, str] = {
    "maml": "second-order MAML",
    "fomaml": "first-order MAML (FOMAML)",
    "reptile": "Reptile",
}
KINDS: dict[frozenset[str], Computes] = {
    frozenset(): "maml",
    frozenset({"first-order"}): "fomaml",
    frozenset({"reptile"}): "reptile",
}
OWN = "own-forward"
DETAILS = 8  # so many of one finding are listed


@dataclass(frozen=True)
class Remark:
    """A mistake that was found, or a note of something that does not make a result wrong."""

    identifier: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a function is.

    verdict: "second-order MAML", "first-order MAML (FOMAML)", "Reptile", one of these "of ReLU networks" where it
        computes a forward pass of its own, "wrong" or "unusable".
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


def verdict(findings: Sequence[Finding]) -> str:
    """What a function with these findings is called."""
    identifiers = frozenset(finding.identifier for finding in findings)
    kind = KINDS.get(identifiers - {OWN})
    if kind is None:
        return "wrong"
    return " ".join([VERDICTS[kind], *(finding.says for finding in findings if finding.identifier == OWN)])


def remarks(findings: list[Finding], lines: dict[str, int]) -> tuple[Remark, ...]:
    """One for every identifier, with the details of all its findings, in the order in which a user would mend them."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.identifier, []).append(finding.says)

    def text(identifier: str) -> str:
        said = list(dict.fromkeys(filter(None, found[identifier])))
        if len(said) > DETAILS:
            said[DETAILS:] = [f"and {len(said) - DETAILS} more"]
        line = lines.get(PLACES.get(identifier, ""))
        details = f" ({', '.join(said)})" if said else ""
        return EXPLANATIONS[identifier] + details + (f"; see line {line}" if line else "")

    order = [identifier for identifier in EXPLANATIONS if identifier in found]
    return tuple(Remark(identifier, text(identifier)) for identifier in order)
