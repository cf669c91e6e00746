"""From the factors between results and predictions, probe by probe, to their law: a sum over tasks, a clipped norm."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from experiments.audit.probes import Probe
from experiments.problems.tasks.draws import Floats

NORM_EQUAL = 1e-4  # code that clips or normalises adds up to 1e-6 to the norm
EXPONENTS = {"T": (0, 1, -1, 2), "Q": (0, 1, -1), "S": (0, 1, -1), "K": (0, 1, -1), "α": (0, 1, -1)}
LAWS = sorted(product(*EXPONENTS.values()), key=lambda powers: sum(map(abs, powers)))


@dataclass(frozen=True)
class Finding:
    """An identifier of the catalogue, and what is to be said beside its explanation."""

    identifier: str
    says: str = ""


@dataclass(frozen=True)
class Factor:
    """In one probe: the result is `value` times a prediction whose norm over all parameters is `norm`."""

    probe: Probe
    value: float
    norm: float


def law(factors: Sequence[Factor], equal: float) -> list[Finding] | None:
    """What the factors mean: nothing if all are one, to a relative `equal`; None where they follow no law."""
    usable = [f for f in factors if f.probe.lr > 0 and f.probe.steps > 0]
    if not usable:
        return []
    if all(abs(f.value - 1) <= equal for f in usable):
        return []
    return _power_law(usable, equal) or _norms(usable, equal)


def _power_law(factors: Sequence[Factor], equal: float) -> list[Finding] | None:
    """k · T^a · Q^b · …, the simplest that fits."""
    values = np.array([f.value for f in factors])
    sizes = {name: np.array([f.probe.sizes[name] for f in factors]) for name in EXPONENTS}
    for powers in LAWS:
        expected = np.ones(len(factors))
        for name, power in zip(EXPONENTS, powers, strict=True):
            expected = expected * sizes[name] ** power
        constants: Floats = values / expected
        if np.ptp(constants) <= equal * abs(constants[0]) and constants[0] != 0:
            return _named(float(constants[0]), dict(zip(EXPONENTS, powers, strict=True)), equal)
    return None


def _named(constant: float, powers: dict[str, int], equal: float) -> list[Finding]:
    findings = []
    for name, identifier in (("T", "sum-over-tasks"), ("Q", "sum-over-points")):
        if powers[name] == 1:
            findings.append(Finding(identifier))
            powers = powers | {name: 0}
    if abs(constant + 1) <= equal:
        findings.append(Finding("wrong-sign"))
        constant = 1.0
    rest = "".join(f"·{name}" + (f"^{power}" if power != 1 else "") for name, power in powers.items() if power)
    if rest or abs(constant - 1) > equal:
        findings.append(Finding("constant-factor", f"{constant:.8g}{rest}"))
    return findings


def _norms(factors: Sequence[Factor], equal: float) -> list[Finding] | None:
    norms = np.array([abs(f.value) * f.norm for f in factors])
    if any(f.value < 0 for f in factors):
        return None
    highest = float(norms.max())
    if np.ptp(norms) <= 100 * NORM_EQUAL * highest:  # the smallest of the probes' norms feel an added constant
        return [Finding("outer-normalised", f"to a norm of {np.median(norms):.4g}")]
    clipped = np.abs(norms - highest) <= NORM_EQUAL * highest
    whole = np.array([abs(f.value - 1) <= equal for f in factors])
    if clipped.any() and (clipped | whole).all():
        return [Finding("outer-clipping", f"to a norm of {highest:.4g}")]
    return None
