"""Check whether an implementation keeps every term of `baselines/contract.py`, for `cost`, `regress` and the rest.

The experiments compare one result with the ground truth; here further calls follow: at other weights, for another
number of tasks, with the same batch again, and another one after it. State that a call must not change is compared,
too. Every term is a function that returns how it is broken, in one clause, or an empty string. The terms AT_THE_SHAPE
cost a few calls each; those in ONCE are checked once per implementation, network and dtype, since some need other
shapes, which have to be compiled anew.
"""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from baselines.contract import MetaGradient, TaskBatch, trainable
from experiments.harness.measure import environment
from experiments.harness.measure.adaptation import heldout_losses
from experiments.harness.measure.processors import cores, pin
from experiments.harness.measure.setup import as_arrays
from experiments.harness.records import Row
from experiments.harness.status import Stopped, Wrong, classify
from experiments.judging import leaks, outside
from experiments.judging.examined import Examined
from experiments.judging.snapshot import Snapshot, bits, in_words
from experiments.judging.verify import Reference

ODD = 3  # tasks
HAVE_QUERY_LOSSES = ("maml", "fomaml", "reptile")

Term = Callable[[Examined], str]
"""Checks one term of the contract: returns how it is broken, in one clause, or an empty string."""


def enforce(examined: Examined, thoroughly: bool, row: Row) -> None:
    """Raise Wrong, with how the first broken term of the contract is broken, and `row`; do nothing if all are kept.

    thoroughly: also check the terms in ONCE.
    """
    with pinned(examined.threads):
        reason = _first(examined, AT_THE_SHAPE)
    if thoroughly and not reason:
        reason = _first(examined, ONCE)
    examined.ring.rest()
    environment.settle(examined.threads)
    if reason:
        raise Wrong(reason, row)


def _first(examined: Examined, terms: tuple[Term, ...]) -> str:
    return next(filter(None, (term(examined) for term in terms)), "")


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Bind this process to as many processors as it has threads, so that a call that changes the binding shows.

    The processors depend on the process id, since other processes may examine implementations at the same time.
    """
    before = cores()
    first = os.getpid() % len(before)
    pin((before + before)[first : first + threads])
    try:
        yield
    finally:
        pin(before)


# -- the terms


def untouched(examined: Examined) -> str:
    """Check that a call leaves model, batch and process as they were, and that its result is well formed."""
    batch = examined.ring.next()
    before = Snapshot(examined.setup.spec.model, batch)
    result = examined.setup.meta_gradient(batch)
    if changed := before.changes(random=True):
        return in_words(changed)
    return malformed(examined.setup.spec.model, result, len(batch.support_x))


def malformed(model: nn.Module, result: MetaGradient, tasks: int) -> str:
    """Check the form of a result: names, shapes, dtypes, devices and detachment, but not its values."""
    theta = trainable(model)
    if names := sorted(theta.keys() ^ result.grads.keys()):
        return f"its result lacks, or has and should not, a gradient of {', '.join(names[:2])}"
    for name, p in theta.items():
        g = result.grads[name]
        if g.layout != torch.strided:
            return f"its gradient of {name} is a sparse tensor ({g.layout}), where optimizers expect a dense one"
        if (g.shape, g.dtype, g.device.type, g.requires_grad) != (p.shape, p.dtype, p.device.type, False):
            form, grad = f"{g.dtype} {tuple(g.shape)} on {g.device.type}", " and requires a gradient" * g.requires_grad
            return f"its gradient of {name} is {form}{grad}, the parameter {p.dtype} {tuple(p.shape)}"
    losses = result.task_losses
    if losses is not None and (losses.shape, losses.requires_grad) != ((tasks,), False):
        kind = "attached to a graph" if losses.requires_grad else f"of shape {tuple(losses.shape)}"
        return f"its task losses are {kind}; they have to be detached, one for each of {tasks} tasks"
    return ""


def lasting(examined: Examined) -> str:
    """Check that the next call does not change a result, and that a second call with the same batch is right, too."""
    setup = examined.setup
    if (judgeable := examined.judgeable()) is None:
        return ""
    batch, reference = judgeable
    prepared = setup.baseline.prepare(batch)
    first = setup.baseline.meta_gradient(prepared)
    tensors = setup.baseline.to_torch(first)
    before = {name: bits(g) for name, g in tensors.grads.items()}
    second = setup.baseline.meta_gradient(prepared)
    if reason := inaccurate(reference, setup.baseline.to_torch(second), "called again with the same batch, "):
        return reason
    setup.meta_gradient(examined.ring.next())
    changed = sorted(name for name, g in tensors.grads.items() if bits(g) != before[name])
    if changed or inaccurate(reference, setup.baseline.to_torch(first), ""):
        return "the next call changed its result" + (f" ({', '.join(changed[:2])})" if changed else "")
    return ""


def current(examined: Examined) -> str:
    """Check that a result follows weights that changed in place, and that its task losses are the adapted models'."""
    batch = examined.ring.next()
    examined.setup.meta_gradient(batch)
    if (judgeable := examined.judgeable(batch)) is None:
        return ""
    result = examined.setup.meta_gradient(batch)
    reason = inaccurate(judgeable[1], result, "after the weights were changed in place, ")
    return reason or mistaken_losses(examined, result, *judgeable)


def odd_number(examined: Examined) -> str:
    """Check that the result for an odd number of tasks is right."""
    return of_tasks(examined, ODD)


def one_task(examined: Examined) -> str:
    """Check that the result for a single task is right."""
    return of_tasks(examined, 1)


def of_tasks(examined: Examined, tasks: int) -> str:
    """Check the result for a meta-batch of this number of tasks."""
    if (judgeable := examined.judgeable(tasks=tasks)) is None:
        return ""
    batch, reference = judgeable
    label = f"with {tasks} task{'s' * (tasks > 1)}, "
    try:
        result = examined.setup.meta_gradient(batch)
    except Stopped:
        raise
    except Exception as error:
        return f"{label}it raises {classify(error)[1]}"
    reason = malformed(examined.setup.spec.model, result, tasks) or mistaken_losses(examined, result, batch, reference)
    return inaccurate(reference, result, label) or (f"{label}{reason}" if reason else "")


def inaccurate(reference: Reference, result: MetaGradient, label: str) -> str:
    """Compare a result with the ground truth; return its error if that is more than rounding explains."""
    verdict = reference.check(as_arrays(result.grads))
    return "" if verdict.right else f"{label}its error is {verdict.error:.1e}, tolerance {verdict.tolerance:.1e}"


def mistaken_losses(examined: Examined, result: MetaGradient, batch: TaskBatch, reference: Reference) -> str:
    """Compare task losses with those of plain gradient descent in float64; return an error above the tolerance."""
    spec = examined.setup.spec
    if result.task_losses is None or examined.setup.baseline.computes not in HAVE_QUERY_LOSSES:
        return ""
    model = copy.deepcopy(spec.model).double().cpu()
    points = TaskBatch(*(part.double().cpu() for part in batch))
    _, losses = heldout_losses(model, spec.loss, spec.inner, points)
    distance = float((result.task_losses.double().cpu() - losses).abs().max() / losses.abs().max().clamp_min(1e-300))
    wrong = not distance <= reference.tolerance
    return f"its task losses err by {distance:.1e}, tolerance {reference.tolerance:.1e}" if wrong else ""


AT_THE_SHAPE: tuple[Term, ...] = (untouched, lasting, current, outside.unhidden)
ONCE: tuple[Term, ...] = (leaks.steady, odd_number, one_task, outside.independent_of_steps)
"""The term with many calls comes first, so that the others also judge results after many calls."""
