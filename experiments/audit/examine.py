"""Make all calls of a `meta_step` that an audit needs, and keep their results."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.audit.probes import BASE, TANH, Probe, points, probes
from experiments.audit.session import Call, Refused, Session, Target, Unusable

Advance = Callable[[str], None]

AT_ONCE = 2  # processes
REPEATS = 25  # calls between which memory is measured
WIDE_POINTS = 500  # support and query points of such a call
LEAK_BYTES = 100_000  # a call's tensors take over 1 MB: a growth of less than this is the allocator's
OTHER_SEED = 1
HISTORY = (BASE, BASE, "other points", "other weights", "other α", "one step", "small loss")
"""A sequence of calls that shows what a function keeps from one call to the next; those that raise are left out."""
NEEDS = "the audit's networks are of linear layers and take points (points, 2): code for images or classes cannot be"
OF_SHAPES = re.compile(r"conv|pool|shape|size|dim|class|Expected|Long|int64|channels|unpack")
"""Words of error messages of code that expects other networks or data."""


@dataclass
class Examination:
    """Every result that an audit judges: of calls in one process one after the other, or each in a fresh process.

    probes: all probes, answered or not; calls: the answered ones' results, by probe name.
    dtype: float32 where the function takes nothing else; `only_float32` is then its message in float64.
    steps: the only K of the probes, None where they have several.
    repeated: results of the first answered probe, called again.
    refused: messages of its exceptions, by probe name; refused_extras: by what a further call asked for.
    single: results of the first answered probe's tasks, one task a call.
    history: results of the calls HISTORY in one process; filled only where `calls` are of fresh processes.
    random: results of equal calls differ by chance, or with the seed of the random generators.
    recorded: the first answered probe's result, with its calls of the loss recorded.
    growth: bytes by which a call makes the process grow.
    """

    probes: list[Probe]
    dtype: str
    steps: int | None
    calls: dict[str, Call] = field(default_factory=dict)
    repeated: list[Call] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    refused_extras: dict[str, str] = field(default_factory=dict)
    single: list[Call] = field(default_factory=list)
    history: list[Call] = field(default_factory=list)
    random: bool = False
    recorded: Call | None = None
    growth: float | None = None
    only_float32: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> Probe:
        """Return the first probe that was answered."""
        return next(p for p in self.probes if p.name in self.calls)

    @property
    def sequence(self) -> list[str]:
        """Return the names of the calls in `history`."""
        return [name for name in HISTORY if name in self.calls]

    @property
    def unsteady(self) -> bool:
        """Tell whether the first call, made again, has another result."""
        base = self.base.name
        return any(self.differ(call, self.calls[base], base) for call in self.repeated)

    @property
    def not_answered(self) -> list[Probe]:
        """Return the probes without batch normalisation in which the function raised."""
        return [p for p in self.probes if p.name in self.refused and not p.normalised]

    def differ(self, a: Call, b: Call, probe: str) -> bool:
        """Tell whether two results of a probe differ by more than rounding explains."""
        (p,) = (p for p in self.probes if p.name == probe)
        return a.finite and b.finite and not p.distance(a.grads, b.grads) <= 10 * p.tolerances[self.dtype]


def examine(target: Target, advance: Advance, steps: int | None = None) -> Examination:
    """Call the function with every probe in one process, one after the other, as a training run would.

    advance: called with a word for what comes next. steps: the only K to ask for. Raises Unusable.
    """
    advance("starting a process")
    with Session(target) as session:
        examined = _ask_all(session, list(probes(steps)), steps, advance)
        examined.versions = session.versions
        if not any(name.split(",")[0] != "normalised" for name in examined.calls):
            raise Unusable(_refusal(examined))
        advance("what else it changes")
        examined.repeated.append(_again(session, examined))
        _ask_extras(session, examined)
        examined.repeated.append(_again(session, examined))
    return examined


def _ask_all(session: Session, every: list[Probe], steps: int | None, advance: Advance) -> Examination:
    """Call the function with all probes, the first one twice; in float32 where it raises in float64 at once."""
    examined = Examination(every, "float64", steps)
    for position, probe in enumerate(every):
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
    """Make the first call that was answered once more; raises Unusable where the function raises now."""
    count = len(examined.calls) + len(examined.refused)
    try:
        return session.call(examined.base, examined.dtype)
    except Refused as error:
        which = "its second call" if count == 1 else "a later call"
        raise Unusable(
            f"it raised {error}, in {which}, which is like one that it answered ({examined.base.called_with}): "
            "something is kept from call to call, such as a graph, or left to chance"
        ) from None


def _refusal(examined: Examination) -> str:
    """Return what the function raised, each message once, with the first call that raised it."""
    calls = {p.name: p.called_with for p in examined.probes}
    first: dict[str, str] = {}
    for name, message in examined.refused.items():
        first.setdefault(message, calls[name])
    messages = "; ".join(f"{message}, in a call with {call}" for message, call in list(first.items())[:3])
    needs = f" ({NEEDS} audited yet)" if OF_SHAPES.search(messages) else ""
    return f"it answered no call; it raised {messages}{needs}"


def _ask_extras(session: Session, examined: Examination) -> None:
    """Make the calls that notes and explanations rest on: a counted loss, another seed, single tasks, many points.

    A function may refuse them and still be right; what it raised is kept in `refused_extras`.
    """
    base, dtype = examined.base, examined.dtype
    wide = replace(base, batch=points(TANH[0], 9, tasks=2, shots=WIDE_POINTS, queries=WIDE_POINTS))
    try:
        examined.recorded = session.call(base, dtype, record=True)
    except Refused as error:
        examined.refused_extras["a loss function that counts its calls"] = str(error)
    try:
        other, first = session.call(base, dtype, seed=OTHER_SEED), examined.calls[base.name]
        examined.random = not examined.unsteady and examined.differ(other, first, base.name)  # else it has a history
    except Refused as error:
        examined.refused_extras["another seed of the random numbers"] = str(error)
    try:
        for task in range(len(base.batch.support_x)):
            alone = replace(base, batch=type(base.batch)(*(part[task : task + 1] for part in base.batch)))
            examined.single.append(session.call(alone, dtype))
    except Refused as error:
        examined.single = []
        examined.refused_extras["a single task"] = str(error)
    try:
        examined.growth = session.growth(wide, dtype, REPEATS)
    except Refused as error:
        examined.refused_extras[f"{WIDE_POINTS} points"] = str(error)


def depends_on_history(target: Target, examined: Examination) -> bool:
    """Tell whether results depend on earlier calls or on chance: whether they differ from those in fresh processes."""
    if examined.unsteady:
        return True
    names = [name for name in HISTORY[2:] if name in examined.calls]
    fresh, _ = _call_in_fresh_processes(target, [p for p in examined.probes if p.name in names], examined.dtype)
    return any(examined.differ(fresh[name], examined.calls[name], name) for name in names if name in fresh)


def examine_alone(target: Target, examined: Examination, advance: Advance) -> Examination:
    """Examine the function again with every call in a fresh process, and then with the calls HISTORY in one process.

    Raises Unusable where the first call is not answered again.
    """
    advance("every call in a process of its own")
    base = examined.base
    answered = [p for p in examined.probes if p.name in examined.calls]
    fresh, refused = _call_in_fresh_processes(target, answered, examined.dtype)
    again, _ = _call_in_fresh_processes(target, [base], examined.dtype)
    if base.name not in fresh or base.name not in again:
        raised = refused.get(base.name, "an exception now and then")
        raise Unusable(
            f"it raised {raised}, in a process of its own, in a call that it had answered ({base.called_with})"
        )
    alone = replace(examined, calls=fresh, history=[])
    by_name = {p.name: p for p in examined.probes}
    with Session(target) as session:
        for name in alone.sequence:
            try:
                alone.history.append(session.call(by_name[name], examined.dtype))
            except Refused as error:
                alone.refused_extras[f"{name}, after other calls"] = str(error)
    return replace(
        alone,
        refused=examined.refused | refused,
        random=examined.differ(fresh[base.name], again[base.name], base.name),
    )


def _call_in_fresh_processes(target: Target, chosen: list[Probe], dtype: str) -> tuple[dict[str, Call], dict[str, str]]:
    """Return the results of calls in fresh processes, by probe name, and the messages of those that raised."""

    def one(probe: Probe) -> Call | str:
        with Session(target) as session:
            try:
                return session.call(probe, dtype)
            except Refused as error:
                return str(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = {probe.name: result for probe, result in zip(chosen, pool.map(one, chosen), strict=True)}
    calls = {name: result for name, result in results.items() if isinstance(result, Call)}
    return calls, {name: result for name, result in results.items() if isinstance(result, str)}


def diagnose_history(examined: Examination) -> list[str]:
    """Return the identifiers that name how the calls of the history depend on earlier ones."""
    fresh, history = examined.calls, examined.history
    if len(history) < len(examined.sequence) or any(name not in fresh for name in HISTORY[:4]):
        return ["stateful"]

    def like(call: Call, name: str) -> bool:
        return not examined.differ(call, fresh[name], name)

    fresh_ones = [fresh[name] for name in HISTORY[1:4]]
    if any(like(a, BASE) for a in fresh_ones[1:]) or not any(
        g.any() for call in fresh_ones for g in call.grads.values()
    ):
        return ["stateful"]  # even in fresh processes, results do not depend on points and weights
    like_base = [like(call, BASE) for call in history]
    like_fresh = [like(call, name) for call, name in zip(history, examined.sequence, strict=True)]
    if all(like_fresh):
        return ["stateful"]  # after more calls than these
    if all(like_fresh[:4]):
        return ["stale-arguments"]
    if like_base[2] and like_fresh[3]:
        return ["stale-batch"]
    if like_base[3] and like_fresh[2]:
        return ["stale-parameters"]
    if like_base[2] and like_base[3]:
        return ["stale-batch", "stale-parameters"]
    if like_base[1] and like_base[2] and not like_base[3]:
        return ["stale-batch"]  # of the call before
    return ["earlier-calls"] if _accumulates(examined) else ["stateful"]


def _accumulates(examined: Examination) -> bool:
    """Tell whether every result is a·(that of the call in a fresh process) + b·(the one before), a and b constant."""

    def vector(call: Call) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.concatenate([g.ravel() for g in call.grads.values()])

    fresh = [vector(examined.calls[name]) for name in examined.sequence]
    results = [vector(call) for call in examined.history]
    terms = np.stack([np.concatenate(fresh[1:]), np.concatenate(results[:-1])], axis=1)
    target = np.concatenate(results[1:])
    factors = np.linalg.lstsq(terms, target, rcond=None)[0]
    (tolerance,) = (p.tolerances[examined.dtype] for p in examined.probes if p.name == BASE)
    distance = np.linalg.norm(terms @ factors - target) / np.linalg.norm(target)
    return bool(distance <= 100 * tolerance and abs(factors[1]) > 1e-6)
