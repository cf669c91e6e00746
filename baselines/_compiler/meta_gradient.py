"""The compiled adjoint sweep for one shape of meta-batch: forward over the inner loop, the query gradient, and back.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

An inner step and its pull-back are compiled once, for every k, so the time to compile does not grow with K; only the
first step, where all tasks share θ, has functions of its own. The iterates φₖ are kept. A pull-back gets what its step
has computed anyway (the activations) where that is no larger than one more copy of the parameters. Where it is, the
pull-back gets the results of products, convolutions and reductions, up to PRODUCTS bytes for all steps, and beyond that
nothing; the rest it computes again.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.fx import GraphModule

from baselines._compiler import tracing
from baselines._compiler.partition import elementwise, everything, split, views
from baselines._compiler.step import Phases, Values
from baselines._compiler.tracing import Tensors
from baselines.contract import MetaGradient, Spec, TaskBatch, trainable

Run = Callable[[Values, Values, TaskBatch], Values]

PRODUCTS = 2**24  # bytes that the products of all steps may take: more than caches hold is no faster to read
ONE_GRAPH = 10  # up to so many inner steps the whole sweep is one graph: calls would cost as much as the arithmetic


class Sweep:
    """The meta-gradient of batches of one shape; `tasks` as in Phases.

    second_order: whether v is swept back; without, the result is FOMAML's.
    """

    def __init__(self, spec: Spec, steps: int, second_order: bool, tasks: int | None, task: Values) -> None:
        self.steps, self.second_order, self.tasks = steps, second_order, tasks
        self.phases = Phases(spec, steps, tasks, task)
        order = self.phases.factored + self.phases.dense
        self.places = {name: 1 + order.index(name) for name in trainable(spec.model)}
        self.copies = (tasks or 1) * sum(p.numel() * p.element_size() for p in trainable(spec.model).values())
        self.functions: dict[tuple[str, bool], GraphModule | tracing.MachineCode] = {}
        self.kept = ""
        self.draws = False
        self.failures: list[str] = []
        """Why faster ways did not work."""
        self.whole = tasks is not None and steps <= ONE_GRAPH
        self.one_graph: tracing.MachineCode | None = None

    def named(self, found: Values) -> MetaGradient:
        """What a call gives, by the names of the parameters."""
        return MetaGradient(found[0], {name: found[place] for name, place in self.places.items()})

    @property
    def execution(self) -> str:
        """How it runs, in words."""
        how = "one task after the other" if self.tasks is None else "all tasks together"
        steps = (
            "one graph" if self.whole else ", ".join(filter(None, ["graphs per step", self.kept])) if self.steps else ""
        )
        factors = f"{', '.join(self.phases.factored)} factored" if self.phases.factored else ""
        return "; ".join(filter(None, [how, steps, factors, *self.failures]))

    def __call__(self, fixed: Values, theta: Values, batch: TaskBatch) -> Values:
        """(losses, mean gradients, factored weights first); `fixed` and `theta` as `Phases.inputs` gives them."""
        flat = [*fixed, *theta, *batch]
        if self.tasks is None:
            return self._one_by_one(fixed, theta, batch)
        if not self.whole:
            return self._sweep(*flat)
        if self.one_graph is None:
            self._sweep(*flat)  # traces the functions, which cannot be while what calls them is traced
            self.one_graph = tracing.MachineCode(tracing.trace(self._sweep, flat))
        return list(self.one_graph(*flat))

    def _one_by_one(self, fixed: Values, theta: Values, batch: TaskBatch) -> Values:
        """A task at a time; the sum is kept, not every task's gradient."""
        losses, total = [], [torch.zeros_like(p) for p in theta]
        for task in zip(*batch, strict=True):
            loss, *found = self._sweep(*fixed, *theta, *task)
            losses.append(loss)
            for t, g in zip(total, found, strict=True):
                t.add_(g)
        return [torch.stack(losses), *(t / len(losses) for t in total)]

    def _sweep(self, *flat: Tensor) -> Values:
        fixed, theta, x, y, query = self.phases.parts(flat, shared=True)
        dense, factors = len(self.phases.dense), len(self.phases.factored)
        phi, tape = theta, []
        history: Values = []  # H, then D, of every factored weight; the rows of later steps are zero
        for k in range(self.steps):
            inputs = [*fixed, *phi, x, y]
            found = self._function("step", k == 0, inputs)(*inputs)
            history = self._extended(history, found[dense : dense + 2 * factors], k)
            tape.append((inputs, found[dense + 2 * factors :]))
            phi = [*found[:dense], *history]
        inputs = [*fixed, *phi, *query]
        losses, *gradient = self._function("query", not tape, inputs)(*inputs)
        weights, v, ends = gradient[:factors], gradient[factors : factors + dense], gradient[factors + dense :]
        if tape and not self.second_order:
            return [losses, *weights, *(v if self.tasks is None else [t.sum(0) for t in v])]
        for k in reversed(range(self.steps)):
            inputs, residuals = tape.pop()
            recent = [t[:, self._rows(t, k)].contiguous() for t in ends]
            if k:  # step k saw no rows of its own
                for t in history:
                    t[:, self._rows(t, k)] = 0
            pulled = self._function("pull-back", k == 0, inputs)(*inputs, *residuals, *v, *recent)
            weights = [t + g for t, g in zip(weights, pulled, strict=False)]
            v = list(pulled[factors : factors + dense])
            ends = [t + g for t, g in zip(ends, pulled[factors + dense :], strict=False)]
        return [losses, *weights, *v]

    def _extended(self, history: Values, new: Tensors, k: int) -> Values:
        """H and D with the rows of step k."""
        if self.steps == 1:
            return list(new)
        if k == 0:
            history = [t.new_zeros(t.shape[0], self.steps * t.shape[1], t.shape[2]) for t in new]
        for t, rows in zip(history, new, strict=True):
            t[:, self._rows(t, k)] = rows
        return history

    def _rows(self, t: Tensor, k: int) -> slice:
        """The rows of step k in H or D, (tasks, rows, features)."""
        size = t.shape[1] // self.steps
        return slice(k * size, (k + 1) * size)

    def _function(self, name: str, first: bool, inputs: Values) -> Callable[..., Tensors]:
        """A function, traced when it is first needed, for inputs like these."""
        shared = first and self.tasks is not None
        if (name, shared) not in self.functions:
            if name == "query" or not self.second_order:
                function = self.phases.query if name == "query" else self.phases.advance
                made = {name: tracing.trace(partial(function, shared), inputs)}
            else:
                made = dict(zip(("step", "pull-back"), self._step(shared, inputs), strict=True))
            self.draws |= any(map(tracing.draws, made.values()))
            for each, graph in made.items():
                self.functions[each, shared] = graph if self.whole else tracing.MachineCode(graph)
        return self.functions[name, shared]

    def _step(self, shared: bool, inputs: Values) -> tuple[GraphModule, GraphModule]:
        """The graphs of an inner step and of its pull-back."""
        cotangents = self.phases.cotangents()
        joint = tracing.trace(partial(self.phases.step, shared), [*inputs, *cotangents])
        all_kept = math.inf if tracing.draws(joint) else self.copies
        for kept, again, most in (
            ("activations kept", views, all_kept),
            ("products kept", elementwise, PRODUCTS / self.steps),
            ("activations computed again", everything, math.inf),
        ):
            self.kept = kept
            step, pull_back, size = split(joint, len(inputs), len(cotangents), again)
            if size <= most:
                break
        return step, pull_back
