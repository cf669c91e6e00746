"""Explain the factors between results and predictions by a law, such as a sum over tasks or a clipped norm."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from experiments.audit.probes import Probe
from experiments.problems.tasks.draws import Floats

NORM_EQUAL = 1e-4  # relative difference of equal norms: code that clips or normalises adds up to 1e-6 to them
EXPONENTS = {"T": (0, 1, -1, 2), "Q": (0, 1, -1), "S": (0, 1, -1), "K": (0, 1, -1), "α": (0, 1, -1)}
LAWS = sorted(product(*EXPONENTS.values()), key=lambda powers: sum(map(abs, powers)))


@dataclass(frozen=True)
class Finding:
    """A mistake: an identifier of the catalogue, and details to append to its explanation."""

    identifier: str
    details: str = ""


@dataclass(frozen=True)
class Factor:
    """The factor of one probe: its result is `value` times a prediction whose norm over all parameters is `norm`."""

    probe: Probe
    value: float
    norm: float


def law(factors: Sequence[Factor], equal: float) -> list[Finding] | None:
    """Return the mistakes that explain the factors, an empty list if all are 1; None where they follow no law.

    equal: the relative difference within which two factors are equal.
    """
    usable = [f for f in factors if f.probe.lr > 0 and f.probe.steps > 0]
    if not usable:
        return []
    if all(abs(f.value - 1) <= equal for f in usable):
        return []
    return _power_law(usable, equal) or _norms(usable, equal)


def _power_law(factors: Sequence[Factor], equal: float) -> list[Finding] | None:
    """Explain the factors by k · T^a · Q^b · S^c · K^d · α^e with the smallest exponents that fit."""
    values = np.array([f.value for f in factors])
    sizes = {name: np.array([f.probe.sizes[name] for f in factors]) for name in EXPONENTS}
    for powers in LAWS:
        products = np.ones(len(factors))
        for name, power in zip(EXPONENTS, powers, strict=True):
            products = products * sizes[name] ** power
        constants: Floats = values / products
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
