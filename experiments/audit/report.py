"""Define an audit's report: a verdict, the mistakes that explain it, notes, and the evidence."""

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
OWN_FORWARD = "own-forward"
MOST_DETAILS = 8  # that are listed for one identifier


@dataclass(frozen=True)
class Remark:
    """One mistake, or one note on something that does not make a result wrong: its identifier and a sentence."""

    identifier: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; empty where no call was answered.

    versions: of torch and Python. fresh_processes: whether every probe was repeated in a process of its own. residual:
    the part of the results that the findings leave unexplained. errors: against the ground truth of each kind, by
    probe; tolerances: by probe. lines: where the function does what, by event. raised: calls that raised, with what.
    """

    versions: dict[str, str] = field(default_factory=dict)
    precision: str = ""
    fresh_processes: bool = False
    residual: float | None = None
    errors: dict[Computes, dict[str, float]] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)
    loss_calls: dict[str, int] | None = None
    lines: dict[str, int] | None = None
    raised: dict[str, str] = field(default_factory=dict)
    memory_growth_bytes: float | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of an audit.

    verdict: "second-order MAML", "first-order MAML (FOMAML)" or "Reptile"; one of these with "of ReLU networks" where
        the function has a forward pass of its own; "wrong" or "unusable".
    findings: the fewest mistakes of the catalogue that explain the results; explanation: their sentences.
    """

    verdict: str
    findings: tuple[Remark, ...]
    explanation: str
    notes: tuple[Remark, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """Return the findings' identifiers, which do not change between versions."""
        return tuple(finding.identifier for finding in self.findings)

    def json(self) -> dict[str, Any]:
        """Return the report as the dict that `--format json` prints."""
        return {
            "verdict": self.verdict,
            "diagnosis": list(self.diagnosis),
            "explanation": self.explanation,
            "notes": [asdict(note) for note in self.notes],
            "evidence": asdict(self.evidence),
        }

    def is_expected(self, expected: Computes) -> bool:
        """Tell whether the verdict is the kind that the user expects."""
        return self.verdict == VERDICTS[expected]


def verdict(findings: Sequence[Finding]) -> str:
    """Return the verdict on a function with these findings."""
    identifiers = frozenset(finding.identifier for finding in findings)
    kind = KINDS.get(identifiers - {OWN_FORWARD})
    if kind is None:
        return "wrong"
    return " ".join([VERDICTS[kind], *(finding.details for finding in findings if finding.identifier == OWN_FORWARD)])


def remarks(findings: list[Finding], lines: dict[str, int]) -> tuple[Remark, ...]:
    """Write one remark for every identifier, with the details of all its findings, in the order to mend them in.

    lines: lines of the user's file by what happens there, as the recorder knows them.
    """
    details: dict[str, list[str]] = {}
    for finding in findings:
        details.setdefault(finding.identifier, []).append(finding.details)

    def text(identifier: str) -> str:
        parts = list(dict.fromkeys(filter(None, details[identifier])))
        if len(parts) > MOST_DETAILS:
            parts[MOST_DETAILS:] = [f"and {len(parts) - MOST_DETAILS} more"]
        line = lines.get(PLACES.get(identifier, ""))
        appended = f" ({', '.join(parts)})" if parts else ""
        return EXPLANATIONS[identifier] + appended + (f"; see line {line}" if line else "")

    order = [identifier for identifier in EXPLANATIONS if identifier in details]
    return tuple(Remark(identifier, text(identifier)) for identifier in order)
