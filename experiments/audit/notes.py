"""Notes of an audit: what does not make a result wrong, and matters to what may be said of it or to its next call."""

from collections.abc import Iterator, Sequence

from experiments.audit.catalogue import catalogue, recipe
from experiments.audit.examine import LEAK_BYTES, Examination
from experiments.audit.probes import Probe
from experiments.audit.report import Remark
from experiments.audit.simulate import Recipe, Simulation
from experiments.judging.verify import error

CHANGED = {
    "modes": ("modes-changed", "a call leaves modules in another mode, training or evaluation"),
    "requires_grad": ("requires-grad-changed", "a call changes requires_grad of: {}"),
    "grad mode": ("grad-mode-changed", "a call leaves gradients switched on or off other than before"),
}


def notes(examined: Examination, judged: Sequence[Probe], precision: str) -> Iterator[Remark]:
    """All notes on an examination of which the probes `judged` were, to the precision of a dtype."""
    yield from _of_changes(examined)
    yield from _of_precision(examined, precision)
    yield from _of_limits(examined, judged, precision)


def _of_changes(examined: Examination) -> Iterator[Remark]:
    calls = [*examined.calls.values(), *examined.repeated]
    for kind, (identifier, text) in CHANGED.items():
        names = sorted({name for call in calls for name in call.changed.get(kind, [])})
        if names:
            few = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
            yield Remark(identifier, text.format(few))
    if any(call.returned for call in calls):
        text = "it returned its gradients and left none in `.grad`; it was judged by what it returned"
        yield Remark("gradients-returned", text)


def _of_precision(examined: Examination, precision: str) -> Iterator[Remark]:
    if precision == "float32":
        why = "something in it is in single precision"
        if examined.only_float32:
            why = f"it takes float32 only (in float64 it raised {examined.only_float32})"
        yield Remark("single-precision", f"{why}; it was judged to that precision")
    first = examined.calls[examined.base.name]
    alike = [call.grads for call in examined.repeated if call.finite and first.finite]
    if not examined.history and any(error(again, first.grads) > 0 for again in alike):
        yield Remark("not-deterministic", "calls alike do not give the same numbers")
    if examined.growth and examined.growth > LEAK_BYTES:
        text = f"memory grows by {examined.growth / 2**20:.1f} MiB a call, after garbage collection"
        yield Remark("memory-grows", text)


def _of_limits(examined: Examination, judged: Sequence[Probe], precision: str) -> Iterator[Remark]:
    if "α = 0" in examined.calls and not examined.calls["α = 0"].finite:
        yield Remark("not-finite-at-zero", "with α = 0 the meta-gradient is not finite, as of a division by α")
    if examined.steps is not None:
        hidden = ", ".join(_indistinguishable(judged, precision))
        text = f"it was judged for K = {examined.steps} only, as asked"
        yield Remark("steps-restricted", text + (f"; this could not be told: {hidden}" if hidden else ""))
    said = {examined.refused[p.name] for p in examined.not_answered}
    normalised = (examined.refused.get(p.name, "") for p in examined.probes if p.normalised)
    beside = {"a network with batch normalisation": next(filter(None, normalised), "")} | examined.beside
    for what, message in beside.items():
        if message and message not in said:
            yield Remark("refused", f"with {what}, it raised {message}: nothing can be said of that")


def _indistinguishable(judged: Sequence[Probe], precision: str) -> list[str]:
    """Identifiers whose predictions equal the right result in every probe there was."""

    def same(made: Recipe, probe: Probe) -> bool:
        predicted = Simulation(made, probe).mean()[0]
        return probe.distance(predicted, probe.right["maml"]) <= 1000 * probe.tolerances[precision]

    found = []
    for fault in catalogue():
        if not fault.mixed and fault.common:
            made = recipe((fault,), (fault.starts[0] if fault.starts else 0.0,))
            if all(same(made, p) for p in judged):
                found.append(fault.identifier)
    return list(dict.fromkeys(found))
