"""State what results show without a guess at their cause: which arguments they ignore, and where they are exact."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np

from experiments.audit.probes import BASE, Computes, Probe
from experiments.judging.verify import Weights, error

ALIKE = 10  # tolerances within which two results of one function are equal
SUMMED = 10  # times that, where results are added up
NEAR = 0.3  # the relative error beyond which two results have little to do with each other
OF_STEPS = (BASE, "one step", "two steps", "five steps")
OF_RATES = (BASE, "other α", "α = 0")

Trait = Callable[[Probe], bool]
TRAITS: tuple[tuple[str, Trait], ...] = (
    ("without batch normalisation", lambda p: not p.normalised),
    ("with batch normalisation", lambda p: p.normalised),
    ("of a ReLU network", lambda p: p.activation == "relu"),
    ("with one inner step", lambda p: p.steps == 1),
    ("with at most two inner steps", lambda p: p.steps <= 2),
    ("with several inner steps", lambda p: p.steps > 1),
    ("with one task", lambda p: len(p.batch.support_x) == 1),
    ("with two tasks at most", lambda p: len(p.batch.support_x) <= 2),
    ("with several tasks", lambda p: len(p.batch.support_x) > 1),
    ("with α = 0", lambda p: p.lr == 0),
    ("with a quadratic loss", lambda p: p.loss == "squared error"),
    ("of the usual size of the loss", lambda p: p.scale == 1),
    ("where the inner loop does not move", lambda p: p.lr == 0 or p.name == "support met"),
)
"""What probes may have in common, in words that follow "the probes"; of several that fit, the first is named."""


@dataclass(frozen=True)
class Facts:
    """What a function's results have in common; None where the probes that would show it were not answered."""

    ignores_steps: bool | None
    ignores_rate: bool | None
    of_tasks: str = ""
    """How a meta-batch's result follows from those of its single tasks: "mean", "sum", "another"; empty: not known."""

    def sentences(self) -> list[str]:
        """Return the facts as sentences for an explanation."""
        sentences = []
        if self.ignores_rate:
            sentences.append("it ignores inner_lr: its results are the same for every α")
        if self.ignores_steps:
            sentences.append("it ignores inner_steps: its results are the same for every K")
        if self.of_tasks == "sum":
            sentences.append("it is the sum over tasks, not the mean")
        if self.of_tasks == "another":
            sentences.append(
                "it is neither the mean nor the sum of what single tasks give: tasks influence one another"
            )
        return sentences


def facts(
    results: Mapping[str, Weights], probes: Sequence[Probe], precision: str, single: Sequence[Weights] = ()
) -> Facts:
    """Find out what a function's results, by probe name, have in common.

    precision: the dtype whose rounding counts. single: results of the first probe's tasks, one task a call.
    """
    tolerance = {p.name: ALIKE * p.tolerances[precision] for p in probes}

    def alike(names: Sequence[str]) -> bool | None:
        first, *others = [name for name in names if name in results] or [""]
        if not others:
            return None
        return all(error(results[other], results[first]) <= max(tolerance[other], tolerance[first]) for other in others)

    def of_tasks() -> str:
        base = next(p for p in probes if p.name in results)
        if not single or len(single) != len(base.batch.support_x):
            return ""
        total = {name: np.sum([result[name] for result in single], axis=0) for name in base.theta}
        mean = {name: value / len(single) for name, value in total.items()}
        for name, combined in (("mean", mean), ("sum", total)):
            if error(combined, results[base.name]) <= SUMMED * tolerance[base.name]:
                return name
        return "another"

    return Facts(alike(OF_STEPS), alike(OF_RATES), of_tasks())


def describe_probes(names: Collection[str], probes: Sequence[Probe]) -> str:
    """Describe some of the probes in words: by what they have in common and no other has, or by their names."""
    some = [p for p in probes if p.name in names]
    others = [p for p in probes if p.name not in names]
    count = f"{len(some)} of {len(probes)}"
    for first, second in [(trait, trait) for trait in TRAITS] + list(combinations(TRAITS, 2)):
        either = [p for p in probes if first[1](p) or second[1](p)]
        if either == some:
            words = " or ".join(dict.fromkeys((first[0], second[0])))
            return f"in the probes {words} ({count})"
    if len(some) <= len(others):
        return f"in {count} probes ({', '.join(repr(p.name) for p in some)})"
    return f"in {count} probes (not in {', '.join(repr(p.name) for p in others)})"


def nearest_kind(errors: Mapping[Computes, Mapping[str, float]]) -> tuple[Computes, float] | None:
    """Return which of MAML, FOMAML and Reptile the results are nearest to, and the median error.

    errors: for each of them, the errors by probe name. None where the median is above NEAR.
    """
    nearest = min(errors, key=lambda computes: median(errors[computes].values()))
    distance = median(errors[nearest].values())
    return (nearest, distance) if distance <= NEAR else None
