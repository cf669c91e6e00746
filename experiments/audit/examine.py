"""Everything that is asked of a `meta_step`, and what it did."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.audit.probes import BASE, TANH, Probe, points, probes
from experiments.audit.session import Call, Refused, Session, Target, Unusable

Advance = Callable[[str], None]

AT_ONCE = 2
REPEATS = 25
WIDE_POINTS = 500
LEAK_BYTES = 100_000  # a call's own tensors take over 1 MB: less than this is the allocator's business
HISTORY = (BASE, BASE, "other points", "other weights")
"""A sequence of calls that tells what a function carries from one to the next."""


@dataclass
class Examination:
    """Calls by probe; those of one process, which came one after the other, or each in a process of its own.

    dtype: float32 where the function takes nothing else. one_step: it takes a single inner step only.
    refused: what it raised, by probe. history: results of the calls HISTORY in one process, where they differ from
        those of processes of their own.
    """

    probes: list[Probe]
    dtype: str
    one_step: bool
    calls: dict[str, Call] = field(default_factory=dict)
    repeated: list[Call] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    history: list[Call] = field(default_factory=list)
    random: bool = False
    normalised: Call | None = None
    recorded: Call | None = None
    growth: float | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def differ(self, a: Call, b: Call, probe: str) -> bool:
        """Whether two results of a probe differ by more than rounding explains."""
        (asked,) = (p for p in self.probes if p.name == probe)
        return a.finite and b.finite and not asked.distance(a.grads, b.grads) <= 10 * asked.tolerances[self.dtype]


def examine(target: Target, advance: Advance) -> Examination:
    """Every probe in one process, one after the other, as a training run would; raises Unusable."""
    advance("starting a process")
    with Session(target) as session:
        examined = _first_call(session)
        examined.versions = session.versions
        base = examined.probes[0]
        examined.repeated.append(session.call(base, examined.dtype))
        for probe in examined.probes[1:]:
            advance(probe.name)
            try:
                examined.calls[probe.name] = session.call(probe, examined.dtype)
            except Refused as error:
                examined.refused[probe.name] = str(error)
        examined.repeated.append(session.call(base, examined.dtype))
        advance("what else it changes")
        _beside(session, examined)
    return examined


def _first_call(session: Session) -> Examination:
    """The kinds of calls that the function takes, found with the first probe."""
    problem = ""
    for dtype in ("float64", "float32"):
        for one_step in (False, True):
            wanted = list(probes())
            if one_step:
                alike = ("two steps", "five steps", "one step")
                wanted = [replace(p, steps=1) for p in wanted if p.name not in alike]
            try:
                call = session.call(wanted[0], dtype)
            except Refused as error:
                problem = problem or str(error)
                continue
            return Examination(wanted, dtype, one_step, {wanted[0].name: call})
    raise Unusable(f"it raised {problem}")


def _beside(session: Session, examined: Examination) -> None:
    """What does not make a result wrong; a function that refuses one of these calls has nothing to be told."""
    base, dtype = examined.probes[0], examined.dtype
    wide = replace(base, batch=points(TANH[0], 9, tasks=2, shots=WIDE_POINTS, queries=WIDE_POINTS))
    try:
        examined.recorded = session.call(base, dtype, record=True)
    except Refused as error:
        examined.refused["a loss function that counts its calls"] = str(error)
    try:
        normalised = {**base.request()["network"], "normalised": True}
        examined.normalised = session.call(base, dtype, network=normalised)
    except Refused as error:
        examined.refused["a module with batch normalisation"] = str(error)
    try:
        examined.growth = session.growth(wide, dtype, REPEATS)
    except Refused as error:
        examined.refused[f"{WIDE_POINTS} points"] = str(error)


def depends_on_history(target: Target, examined: Examination) -> bool:
    """Whether a result depends on the calls before it, or on chance; compared with calls in fresh processes."""
    base = examined.probes[0]
    if any(examined.differ(call, examined.calls[base.name], base.name) for call in examined.repeated):
        return True
    names = [name for name in HISTORY[2:] if name in examined.calls]
    fresh = _alone(target, [p for p in examined.probes if p.name in names], examined.dtype)
    return any(examined.differ(fresh[name], examined.calls[name], name) for name in names if name in fresh)


def examine_alone(target: Target, examined: Examination, advance: Advance) -> Examination:
    """The same with every call in a process of its own, and the results of a sequence of calls beside them."""
    advance("every call in a process of its own")
    base = examined.probes[0]
    asked = [p for p in examined.probes if p.name in examined.calls]
    found = _alone(target, asked, examined.dtype)
    again = _alone(target, [base], examined.dtype)
    missing = [p.name for p in asked if p.name not in found]
    history = []
    by_name = {p.name: p for p in examined.probes}
    with Session(target) as session:
        for name in HISTORY:
            try:
                history.append(session.call(by_name[name], examined.dtype))
            except Refused as error:
                examined.refused[name] = str(error)
    return replace(
        examined,
        calls=found,
        history=history,
        refused=examined.refused | dict.fromkeys(missing, "it raised in a process of its own"),
        random=base.name not in found or examined.differ(found[base.name], again[base.name], base.name),
    )


def _alone(target: Target, asked: list[Probe], dtype: str) -> dict[str, Call]:
    def one(probe: Probe) -> Call | None:
        with Session(target) as session:
            try:
                return session.call(probe, dtype)
            except Refused:
                return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = pool.map(one, asked)
        return {probe.name: call for probe, call in zip(asked, calls, strict=True) if call}


def carried_over(examined: Examination) -> list[str]:
    """Identifiers for how the calls of the history depend on earlier ones."""
    fresh, history = examined.calls, examined.history
    if len(history) < len(HISTORY) or any(name not in fresh for name in HISTORY):
        return ["stateful"]

    def like(call: Call, name: str) -> bool:
        return not examined.differ(call, fresh[name], name)

    of_base = [like(call, BASE) for call in history]
    own = [like(call, name) for call, name in zip(history, HISTORY, strict=True)]
    if all(own):
        return []
    if of_base[2] and own[3]:
        return ["stale-batch"]
    if of_base[3] and own[2]:
        return ["stale-parameters"]
    if of_base[2] and of_base[3]:
        return ["stale-batch", "stale-parameters"]
    if of_base[1] and of_base[2] and not of_base[3]:
        return ["stale-batch"]  # of the call before
    return ["earlier-calls"] if _accumulated(examined) else ["stateful"]


def _accumulated(examined: Examination) -> bool:
    """Whether every result is a·(its own) + b·(the one before), with the same a and b throughout."""

    def vector(call: Call) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.concatenate([g.ravel() for g in call.grads.values()])

    own = [vector(examined.calls[name]) for name in HISTORY]
    found = [vector(call) for call in examined.history]
    terms = np.stack([np.concatenate(own[1:]), np.concatenate(found[:-1])], axis=1)
    target = np.concatenate(found[1:])
    factors = np.linalg.lstsq(terms, target, rcond=None)[0]
    (tolerance,) = (p.tolerances[examined.dtype] for p in examined.probes if p.name == BASE)
    distance = np.linalg.norm(terms @ factors - target) / np.linalg.norm(target)
    return bool(distance <= 100 * tolerance and abs(factors[1]) > 1e-6)
