"""Write an audit's notes: what does not make a result wrong, but limits the verdict or disturbs the next call."""

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
    """Yield all notes on an examination; `judged`: the probes that the verdict rests on, `precision`: its dtype."""
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
        yield Remark("steps-restricted", text + (f"; these mistakes could not show: {hidden}" if hidden else ""))
    known = {examined.refused[p.name] for p in examined.not_answered}
    normalised = (examined.refused.get(p.name, "") for p in examined.probes if p.normalised)
    messages = {"a network with batch normalisation": next(filter(None, normalised), "")} | examined.refused_extras
    for what, message in messages.items():
        if message and message not in known:
            yield Remark("refused", f"with {what}, it raised {message}: such calls could not be judged")


def _indistinguishable(judged: Sequence[Probe], precision: str) -> list[str]:
    """Return the identifiers whose predictions equal second-order MAML in every probe that was judged."""

    def same(changed: Recipe, probe: Probe) -> bool:
        predicted = Simulation(changed, probe).mean()[0]
        return probe.distance(predicted, probe.right["maml"]) <= 1000 * probe.tolerances[precision]

    identifiers = []
    for fault in catalogue():
        if not fault.mixed and fault.common:
            changed = recipe((fault,), (fault.starts[0] if fault.starts else 0.0,))
            if all(same(changed, p) for p in judged):
                identifiers.append(fault.identifier)
    return list(dict.fromkeys(identifiers))
