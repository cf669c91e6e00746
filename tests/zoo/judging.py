"""Is an answer of an implementation right, refused in a sentence, wrong, or none?"""

import random
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as wrapped
from torch._subclasses import FakeTensor

import baselines
from baselines import limitations
from baselines.contract import Baseline, Computes, InnerLoop, Loss, Params, Spec, TaskBatch
from tests.zoo import drawing, truth
from tests.zoo.records import DOUBLE, Change, Draw, Module, points
from tests.zoo.walk import walk

RIGHT, REFUSED, KNOWN, RAISED, WRONG = "right", "refused", "known", "raised", "WRONG"
WORST = (RIGHT, REFUSED, KNOWN, RAISED, WRONG)
EVERY_TRAIT = {limitation.trait for limitation in limitations.KNOWN}
CALLS = 16
"""Calls by which a coin that falls anew has fallen in more than one way."""


class Verdict(NamedTuple):
    """phase: which call; words: the error, the reason or the exception."""

    status: str
    phase: str
    words: str


@cache
def implementation(name: str) -> type[Baseline]:
    """The class of an implementation."""
    return baselines.load(baselines.find(name))


def fallback_of(name: str) -> str | None:
    """What a compiled implementation does otherwise, by name."""
    fallback = getattr(implementation(name), "fallback", None)
    return fallback and fallback.__module__.rpartition(".")[2].replace("_", "-")


class Subject:
    """An implementation that is built for one network, and what its answers are judged by."""

    def __init__(
        self, name: str, model: nn.Module, loss: Loss, dtype: torch.dtype, tolerance: float, steps: int
    ) -> None:
        self.name, self.model, self.tolerance = name, model, tolerance
        self.verdicts: list[Verdict] = []
        self.spoilt = False
        """Whether it has changed the network as it is known to do, so that what follows is another one's truth."""
        kind = implementation(name)
        self.compiles = kind.compiles and kind.framework == "torch"
        spec = Spec(model, loss, InnerLoop(truth.LR, steps), torch.device("cpu"), dtype)
        self.baseline: Baseline | None = None
        try:
            if reason := kind.unavailable(spec):
                self.note(REFUSED, "built", reason)
            else:
                self.baseline = kind(spec)
        except Exception as error:
            self.failed("built", error)

    def note(self, status: str, phase: str, words: str) -> None:
        """One verdict; what is known of a library is no news."""
        bad = status in (RAISED, WRONG)
        known = bad and (self.spoilt or limitations.find(self.name, EVERY_TRAIT, words))
        self.spoilt = self.spoilt or bool(known and status == WRONG)
        self.verdicts.append(Verdict(KNOWN if known else status, phase, words))

    def failed(self, phase: str, error: Exception) -> None:
        """A refusal is a RuntimeError of one line."""
        lines = str(error).strip().splitlines() or [""]
        more = "" if len(lines) == 1 else f" (and {len(lines) - 1} lines)"
        refused = type(error) in (RuntimeError, NotImplementedError) and not more
        self.note(REFUSED if refused else RAISED, phase, f"{type(error).__name__}: {lines[0]}{more}")

    def call(self, phase: str, batch: TaskBatch, expected: Sequence[Params]) -> int | None:
        """One meta-gradient at the model as it is now; which of the right ones it is nearest to, None if refused."""
        if self.baseline is None:
            return None
        before, gradient, nearest = state(self.model, batch), None, None
        try:
            with warnings.catch_warnings(action="ignore"):
                gradient = self.baseline.to_torch(self.baseline.meta_gradient(self.baseline.prepare(batch))).grads
        except Exception as error:
            self.failed(phase, error)
        if gradient is not None:
            off = [truth.distance(gradient, e) for e in expected]
            nearest = off.index(min(off))
            self.note(RIGHT if off[nearest] < self.tolerance else WRONG, phase, f"error {off[nearest]:.1e}")
            if self.compiles and not self.baseline.execution:
                self.note(WRONG, phase, "it does not say how it was executed")
        if changed := differing(before, state(self.model, batch)):
            self.note(WRONG, phase, f"the call changed {changed}")
        return nearest


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of all calls, and of several the first."""
    return max(verdicts, key=lambda verdict: WORST.index(verdict.status))


# -- changes


def steps_of(name: str, thorough: bool) -> int:
    """One step where the notebook's scheme is defined for no more, or where each change is compiled anew."""
    return 1 if name == "notebook" or (fallback_of(name) and not thorough) else truth.STEPS


def through(change: Change, call: Callable[[str, TaskBatch, nn.Module, Loss], object]) -> None:
    """Build, call twice, change, call twice, with other points too, take the change back and call again."""
    torch.manual_seed(0)
    model, loss = change.build(), change.loss()
    one, other = (change.batch(seed, change.dtype) for seed in (1, 2))
    with change.around():
        call("first", one, model, loss)
        call("second", one, model, loss)
        with change.alter(model, loss):
            call("changed", other, model, loss)
            call("changed, again", one, model, loss)
        call("taken back", other, model, loss)


@lru_cache(16)
def truths(change: Change, computes: Computes, steps: int) -> dict[str, list[Params]]:
    """The meta-gradients that are right, for each call: of the network as it is then, with no implementation about."""
    found: dict[str, list[Params]] = {}

    def call(phase: str, batch: TaskBatch, model: nn.Module, loss: Loss) -> None:
        found[phase] = right(model, loss, batch, computes, steps)

    through(change, call)
    return found


def right(model: nn.Module, loss: Loss, batch: TaskBatch, computes: Computes, steps: int) -> list[Params]:
    """The contract leaves open whether a buffer that a forward writes to is a task's own from step to step."""
    ways = (False, True) if any(True for _ in model.buffers()) else (False,)
    return [truth.meta_gradient(model, loss, batch, computes, steps, way) for way in ways]


def difference(change: Change) -> float:
    """How far the change moves the meta-gradient of the same points, relative to it."""
    found = truths(change, "maml", truth.STEPS)
    return min(truth.distance(after, before) for after in found["changed, again"] for before in found["first"])


def judge(change: Change, name: str) -> list[Verdict]:
    """All calls of one implementation."""
    subjects: list[Subject] = []
    steps = steps_of(name, change.telling)
    expected = truths(change, implementation(name).computes, steps)

    def call(phase: str, batch: TaskBatch, model: nn.Module, loss: Loss) -> None:
        if not subjects:
            subjects.append(Subject(name, model, loss, change.dtype, change.tolerance, steps))
        subjects[0].call(phase, batch, expected[phase])

    try:
        through(change, call)
    except Exception as error:  # of a change that was possible before there was an implementation about
        subjects[0].note(WRONG, "changing", f"the network cannot be changed any more: {error!r}")
    return _no_stricter(subjects[0].verdicts, name, lambda other: judge(change, other))


def _no_stricter(verdicts: list[Verdict], name: str, judge: Callable[[str], list[Verdict]]) -> list[Verdict]:
    """A compiled implementation answers wherever its fallback does."""
    fallback = fallback_of(name)
    refused = [verdict for verdict in verdicts if verdict.status in (REFUSED, RAISED)]
    if fallback and refused:
        of_fallback = judge(fallback)
        answered = {verdict.phase for verdict in of_fallback if verdict.status == RIGHT}
        answered -= {verdict.phase for verdict in of_fallback if verdict.status == REFUSED}
        for verdict in refused:
            if verdict.phase in answered or (verdict.phase == "built" and answered):
                verdicts.append(Verdict(WRONG, verdict.phase, f"refused, where {fallback} is right: {verdict.words}"))
    return verdicts


# -- networks as they are built


@lru_cache(16)
def module_truths(module: Module, computes: Computes, steps: int) -> list[list[Params]]:
    """The right meta-gradients for each batch."""
    torch.manual_seed(0)
    model = (module.plain or module.build)()
    return [right(model, module.loss(model), batch, computes, steps) for batch in _batches(module)]


def _batches(module: Module) -> list[TaskBatch]:
    return [module.batch(seed, DOUBLE) for seed in (1, 1, 2)]


def judge_module(module: Module, name: str) -> list[Verdict]:
    """Three calls of one implementation, the last one with other points."""
    steps = steps_of(name, True)
    expected = module_truths(module, implementation(name).computes, steps)
    torch.manual_seed(0)
    model = module.build()
    subject = Subject(name, model, module.loss(model), DOUBLE, module.tolerance, steps)
    for phase, batch, truths in zip(("first", "second", "other points"), _batches(module), expected, strict=True):
        subject.call(phase, batch, truths)
    return _no_stricter(subject.verdicts, name, lambda other: judge_module(module, other))


# -- networks and losses that draw


def judge_draw(draw: Draw, name: str) -> list[Verdict]:
    """Each of many answers is one of those that are possible, and they are not all the same."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(0)
    model, loss = drawing.build(draw)
    one = TaskBatch(*(t[:, :1] for t in points(1, tasks=1, count=1)))
    subject = Subject(name, model, loss, DOUBLE, 1e-9, 1)
    possible = drawing.possible(draw, model, loss, one, implementation(name).computes)
    nearest = {subject.call("drawn", one, possible) for _ in range(CALLS)}
    if len(nearest) == 1 and None not in nearest and not draw.remembered:
        subject.note(WRONG, "drawn", f"the same answer {CALLS} times")
    return _no_stricter(subject.verdicts, name, lambda other: judge_draw(draw, other))


# -- a network that changes at random


def judge_walk(seed: int, name: str, steps: int) -> list[Verdict]:
    """A call after each step, at points of its own."""
    computes, inner = implementation(name).computes, steps_of(name, False)
    with walk(seed) as (model, loss, step):
        subject = Subject(name, model, loss, DOUBLE, 1e-9, inner)
        for k in range(steps):
            phase = f"step {k}, {step()}"
            batch = points(k % 2)
            subject.call(phase, batch, right(model, loss, batch, computes, inner))
    return _no_stricter(subject.verdicts, name, lambda other: judge_walk(seed, other, steps))


# -- what a call leaves


def state(model: nn.Module, batch: TaskBatch) -> dict[str, Any]:
    """What a call has to leave as it is."""
    found: dict[str, Any] = {f"the batch's {name}": t.detach().clone() for name, t in batch._asdict().items()}
    found["settings of the process"] = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())
    for path, m in model.named_modules():
        kept = [v for v in vars(m).values() if isinstance(v, Tensor)]
        found[f"the mode of {path}"] = m.training
        found[f"the children of {path}"] = [(name, id(child)) for name, child in m._modules.items()]
        found[f"what {path} keeps"] = any(isinstance(t, FakeTensor) or wrapped(t) for t in kept)
        found[f"the hooks of {path}"] = [list(hooks) for key, hooks in vars(m).items() if key.endswith("_hooks")]
        for name, t in (*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)):
            place = f"{path}.{name}".lstrip(".")
            found[place] = (id(t), type(t), t.requires_grad, t.detach().clone())
            found[f"{place}.grad"] = None if t.grad is None else t.grad.clone()
    return found


def differing(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The names of what is not as before, bit for bit."""
    if before.keys() != after.keys():
        return ", ".join(sorted(before.keys() ^ after.keys()))
    return ", ".join(name for name, value in before.items() if not _same(value, after[name]))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.allclose(one, other, 0, 0, equal_nan=True)
    if isinstance(one, tuple | list):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
