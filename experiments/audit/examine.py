"""Everything that is asked of a `meta_step`, and what it did."""

import re
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
OTHER_SEED = 1
HISTORY = (BASE, BASE, "other points", "other weights", "other α", "one step", "small loss")
"""A sequence of calls that tells what a function carries from one to the next, as far as they are answered alone."""
NEEDS = "the audit's networks are of linear layers and take points (points, 2): code for images or classes cannot be"
OF_SHAPES = re.compile(r"conv|pool|shape|size|dim|class|Expected|Long|int64|channels|unpack")
"""What messages say where code expects other networks or data."""


@dataclass
class Examination:
    """Calls by probe; those of one process, which came one after the other, or each in a process of its own.

    dtype: float32 where the function takes nothing else; `only_float32` is then what it raised in float64.
    steps: the only K that was asked for, None for several.
    refused: what it raised, by probe; `beside`: by what else was asked of it.
    single: results of the first answered probe's tasks, each in a call of its own.
    history: results of the calls HISTORY in one process, where they differ from those of processes of their own.
    random: calls alike differ by chance, or with the seed of the generators.
    """

    probes: list[Probe]
    dtype: str
    steps: int | None
    calls: dict[str, Call] = field(default_factory=dict)
    repeated: list[Call] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    single: list[Call] = field(default_factory=list)
    history: list[Call] = field(default_factory=list)
    random: bool = False
    recorded: Call | None = None
    growth: float | None = None
    only_float32: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> Probe:
        """The first probe that was answered."""
        return next(p for p in self.probes if p.name in self.calls)

    @property
    def sequence(self) -> list[str]:
        """The names of the history's calls."""
        return [name for name in HISTORY if name in self.calls]

    @property
    def unsteady(self) -> bool:
        """Whether the first call, made again, has another result."""
        base = self.base.name
        return any(self.differ(call, self.calls[base], base) for call in self.repeated)

    @property
    def not_answered(self) -> list[Probe]:
        """The ordinary probes in which it raised."""
        return [p for p in self.probes if p.name in self.refused and not p.normalised]

    def differ(self, a: Call, b: Call, probe: str) -> bool:
        """Whether two results of a probe differ by more than rounding explains."""
        (asked,) = (p for p in self.probes if p.name == probe)
        return a.finite and b.finite and not asked.distance(a.grads, b.grads) <= 10 * asked.tolerances[self.dtype]


def examine(target: Target, advance: Advance, steps: int | None = None) -> Examination:
    """Every probe in one process, one after the other, as a training run would; raises Unusable."""
    advance("starting a process")
    with Session(target) as session:
        examined = _ask_all(session, list(probes(steps)), steps, advance)
        examined.versions = session.versions
        if not any(name.split(",")[0] != "normalised" for name in examined.calls):
            raise Unusable(_refusal(examined))
        advance("what else it changes")
        examined.repeated.append(_again(session, examined))
        _beside(session, examined)
        examined.repeated.append(_again(session, examined))
    return examined


def _ask_all(session: Session, asked: list[Probe], steps: int | None, advance: Advance) -> Examination:
    """All probes, in float32 where the first is not answered in float64; the first of them twice."""
    examined = Examination(asked, "float64", steps)
    for position, probe in enumerate(asked):
        advance(probe.name)
        try:
            examined.calls[probe.name] = session.call(probe, examined.dtype)
        except Refused as error:
            if position == 0 and (answered := _in_float32(session, probe)):
                examined.dtype, examined.only_float32 = "float32", str(error)
                examined.calls[probe.name] = answered
            else:
                examined.refused[probe.name] = str(error)
        if len(examined.calls) == 1 and not examined.repeated:
            examined.repeated.append(_again(session, examined))
    return examined


def _in_float32(session: Session, probe: Probe) -> Call | None:
    try:
        return session.call(probe, "float32")
    except Refused:
        return None


def _again(session: Session, examined: Examination) -> Call:
    """The first call that was answered, once more; raises Unusable where it isn't answered now."""
    made = len(examined.calls) + len(examined.refused)
    try:
        return session.call(examined.base, examined.dtype)
    except Refused as error:
        which = "its second call" if made == 1 else "a later call"
        raise Unusable(
            f"it raised {error}, in {which}, which is like one that it answered ({examined.base.called_with}): "
            "something is kept from call to call, such as a graph, or left to chance"
        ) from None


def _refusal(examined: Examination) -> str:
    """What was raised where nothing was answered, each message once, with the first call it belongs to."""
    calls = {p.name: p.called_with for p in examined.probes}
    first: dict[str, str] = {}
    for name, message in examined.refused.items():
        first.setdefault(message, calls[name])
    said = "; ".join(f"{message}, in a call with {call}" for message, call in list(first.items())[:3])
    needs = f" ({NEEDS} audited yet)" if OF_SHAPES.search(said) else ""
    return f"it answered no call; it raised {said}{needs}"


def _beside(session: Session, examined: Examination) -> None:
    """What does not make a result wrong; a function that refuses one of these calls has nothing to be told."""
    base, dtype = examined.base, examined.dtype
    wide = replace(base, batch=points(TANH[0], 9, tasks=2, shots=WIDE_POINTS, queries=WIDE_POINTS))
    try:
        examined.recorded = session.call(base, dtype, record=True)
    except Refused as error:
        examined.beside["a loss function that counts its calls"] = str(error)
    try:
        other, own = session.call(base, dtype, seed=OTHER_SEED), examined.calls[base.name]
        examined.random = not examined.unsteady and examined.differ(other, own, base.name)  # else it has a history
    except Refused as error:
        examined.beside["another seed of the random numbers"] = str(error)
    try:
        for task in range(len(base.batch.support_x)):
            alone = replace(base, batch=type(base.batch)(*(part[task : task + 1] for part in base.batch)))
            examined.single.append(session.call(alone, dtype))
    except Refused as error:
        examined.single = []
        examined.beside["a single task"] = str(error)
    try:
        examined.growth = session.growth(wide, dtype, REPEATS)
    except Refused as error:
        examined.beside[f"{WIDE_POINTS} points"] = str(error)


def depends_on_history(target: Target, examined: Examination) -> bool:
    """Whether a result depends on the calls before it, or on chance; compared with calls in fresh processes."""
    if examined.unsteady:
        return True
    names = [name for name in HISTORY[2:] if name in examined.calls]
    fresh, _ = _alone(target, [p for p in examined.probes if p.name in names], examined.dtype)
    return any(examined.differ(fresh[name], examined.calls[name], name) for name in names if name in fresh)


def examine_alone(target: Target, examined: Examination, advance: Advance) -> Examination:
    """The same with every call in a process of its own, and the results of a sequence of calls beside them."""
    advance("every call in a process of its own")
    base = examined.base
    asked = [p for p in examined.probes if p.name in examined.calls]
    found, refused = _alone(target, asked, examined.dtype)
    again, _ = _alone(target, [base], examined.dtype)
    if base.name not in found or base.name not in again:
        raised = refused.get(base.name, "an exception now and then")
        raise Unusable(
            f"it raised {raised}, in a process of its own, in a call that it had answered ({base.called_with})"
        )
    alone = replace(examined, calls=found, history=[])
    by_name = {p.name: p for p in examined.probes}
    with Session(target) as session:
        for name in alone.sequence:
            try:
                alone.history.append(session.call(by_name[name], examined.dtype))
            except Refused as error:
                alone.beside[f"{name}, after other calls"] = str(error)
    return replace(
        alone,
        refused=examined.refused | refused,
        random=examined.differ(found[base.name], again[base.name], base.name),
    )


def _alone(target: Target, asked: list[Probe], dtype: str) -> tuple[dict[str, Call], dict[str, str]]:
    """What calls in processes of their own left, and what others raised, by probe."""

    def one(probe: Probe) -> Call | str:
        with Session(target) as session:
            try:
                return session.call(probe, dtype)
            except Refused as error:
                return str(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = {probe.name: answer for probe, answer in zip(asked, pool.map(one, asked), strict=True)}
    calls = {name: answer for name, answer in answers.items() if isinstance(answer, Call)}
    return calls, {name: answer for name, answer in answers.items() if isinstance(answer, str)}


def carried_over(examined: Examination) -> list[str]:
    """Identifiers for how the calls of the history depend on earlier ones."""
    fresh, history = examined.calls, examined.history
    if len(history) < len(examined.sequence) or any(name not in fresh for name in HISTORY[:4]):
        return ["stateful"]

    def like(call: Call, name: str) -> bool:
        return not examined.differ(call, fresh[name], name)

    fresh_ones = [fresh[name] for name in HISTORY[1:4]]
    if any(like(a, BASE) for a in fresh_ones[1:]) or not any(
        g.any() for call in fresh_ones for g in call.grads.values()
    ):
        return ["stateful"]  # what each call gives by itself says nothing of its points and weights
    of_base = [like(call, BASE) for call in history]
    own = [like(call, name) for call, name in zip(history, examined.sequence, strict=True)]
    if all(own):
        return ["stateful"]  # after more calls than these
    if all(own[:4]):
        return ["stale-arguments"]
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

    own = [vector(examined.calls[name]) for name in examined.sequence]
    found = [vector(call) for call in examined.history]
    terms = np.stack([np.concatenate(own[1:]), np.concatenate(found[:-1])], axis=1)
    target = np.concatenate(found[1:])
    factors = np.linalg.lstsq(terms, target, rcond=None)[0]
    (tolerance,) = (p.tolerances[examined.dtype] for p in examined.probes if p.name == BASE)
    distance = np.linalg.norm(terms @ factors - target) / np.linalg.norm(target)
    return bool(distance <= 100 * tolerance and abs(factors[1]) > 1e-6)
