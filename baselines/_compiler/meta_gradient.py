"""Compute the meta-gradient for one shape of meta-batch by the compiled adjoint sweep.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

An inner step and its pull-back are compiled once, for every k, so the time to compile does not grow with K; only the
first step, where all tasks share θ, has functions of its own. The iterates φₖ are kept. A pull-back gets what its step
has computed anyway (the activations) where that is no larger than one more copy of the parameters. Where it is, the
pull-back gets the results of products, convolutions and reductions, up to PRODUCT_BYTES for all steps, and beyond that
nothing; the rest it computes again.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from baselines._compiler.low_rank import Factors, smaller_as_factors
from baselines._compiler.network import Network
from baselines._compiler.partition import is_any, is_cheap, is_view, split
from baselines._compiler.step import Constants, Inputs, Phases, Phi, Update
from baselines._compiler.tracing import Traced, trace
from baselines._shared.module_state import unchanged
from baselines.contract import MetaGradient, Spec, TaskBatch, trainable

Run = Callable[[Constants, Phi, TaskBatch], MetaGradient]

PRODUCT_BYTES = 2**24  # that the products of all steps may take: more than caches hold is no faster to read
ONE_GRAPH_STEPS = 10  # up to so many the whole sweep is one graph: separate calls would cost as much as the arithmetic


class ResidualPolicy(NamedTuple):
    """Choose what a step keeps for its pull-back, as long as it takes at most so many bytes.

    kept: the choice in words. recompute: tells which results the pull-back computes again.
    """

    kept: str
    recompute: Callable[[fx.Node], bool]
    most_bytes: float


class Step(NamedTuple):
    """Hold an inner step, inputs -> (update, residuals), and its pull-back, None where v is not swept back.

    The pull-back is (inputs, residuals, cotangents of the update) -> v.
    """

    forward: Traced
    pull_back: Traced | None


class Sweep:
    """Compute meta-gradients of batches of one shape.

    second_order: whether v is swept back; without, the result is FOMAML's, ∇Q(φ_K).
    tasks: how many go together through `vmap`; None: one after the other.
    network: what a forward consists of, from which low-rank weights are chosen; None: all are dense.
    """

    def __init__(
        self, spec: Spec, steps: int, second_order: bool, tasks: int | None = None, network: Network | None = None
    ) -> None:
        self.steps, self.second_order, self.tasks = steps, second_order, tasks
        theta = trainable(spec.model)
        self.names = list(theta)
        points = network.linear_points if network is not None and tasks else {}
        self.phases = Phases(spec, tasks, smaller_as_factors(theta, points, steps))
        self.phi_bytes = (tasks or 1) * sum(p.numel() * p.element_size() for p in theta.values())
        self.kept = ""
        """What a step keeps for its pull-back, in words."""
        self.draws = False
        """Whether it draws random numbers."""
        self.failures: list[str] = []
        """Why faster ways did not work."""
        self.in_one_graph = tasks is not None and steps <= ONE_GRAPH_STEPS
        self._steps: dict[bool, Step] = {}
        self._query: Traced | None = None
        self._whole: Traced | None = None

    @property
    def execution(self) -> str:
        """Say in words how it runs."""
        order = "one task after the other" if self.tasks is None else "all tasks together"
        graphs = ["one graph"] if self.in_one_graph else ["graphs per step", self.kept] if self.steps else []
        factored = f"{', '.join(self.phases.low_rank)} factored" if self.phases.low_rank else ""
        return "; ".join(filter(None, [order, ", ".join(filter(None, graphs)), factored, *self.failures]))

    def __call__(self, constants: Constants, theta: Phi, batch: TaskBatch) -> MetaGradient:
        """Compute the mean over tasks of the meta-gradient at θ; to be called under `no_grad`."""
        if self.tasks is None:
            return self._task_by_task(constants, theta, batch)
        if not self.in_one_graph:
            return self._sweep(constants, theta, batch)
        if self._whole is None:
            self._sweep(constants, theta, batch)  # traces the parts, which cannot be while their caller is traced
            self._whole = trace(self._sweep, constants, theta, batch)
            self._whole.compile()
        result: MetaGradient = self._whole(constants, theta, batch)
        return result

    def _task_by_task(self, constants: Constants, theta: Phi, batch: TaskBatch) -> MetaGradient:
        """Sum over tasks in place, so that no more than one task's gradients are kept."""
        losses: list[Tensor] = []
        total = {name: torch.zeros_like(p) for name, p in theta.dense.items()}
        for task in zip(*batch, strict=True):
            loss, grads = self._sweep(constants, theta, TaskBatch(*task))
            assert loss is not None
            losses.append(loss)
            for name, g in grads.items():
                total[name].add_(g)
        return MetaGradient(torch.stack(losses), {name: t / len(losses) for name, t in total.items()})

    def _sweep(self, constants: Constants, theta: Phi, batch: TaskBatch) -> MetaGradient:
        """Sweep over the inner loop forward and back; if `tasks` is None, `batch` is one task without a task axis."""
        # Inner loop: φₖ₊₁ = φₖ − α ∇S(φₖ); the tape keeps what each step's pull-back needs
        phi = theta
        tape: list[tuple[Inputs, list[Tensor]]] = []
        for k in range(self.steps):
            inputs = Inputs(constants, phi, batch.support_x, batch.support_y)
            update, residuals = self._step(k, inputs).forward(inputs)
            tape.append((inputs, residuals))
            phi = Phi(theta.W, update.dense, self._extended(phi.factors, k, update.rows))

        # Outer loss: v = ∇Q(φ_K)
        losses, v = self._outer_loss(Inputs(constants, phi, batch.query_x, batch.query_y))
        if not self.second_order and self.steps and self.tasks is not None:
            v = v._replace(dense={name: t.sum(0) for name, t in v.dense.items()})

        # Adjoint sweep: v ← v − α ∇²S(φₖ) v
        for k in reversed(range(self.steps if self.second_order else 0)):
            inputs, residuals = tape.pop()
            pull_back = self._step(k, inputs).pull_back
            assert pull_back is not None
            rows: dict[str, Factors] = {}
            for name, factors in v.factors.items():
                rows[name] = factors.rows(self._rows(name, k))
            for name, factors in inputs.phi.factors.items():
                factors.clear(self._rows(name, k))  # step k saw none of the rows that it added
            pulled: Phi = pull_back(inputs, residuals, Update(v.dense, rows))
            for name, t in pulled.W.items():  # step k's share of what all steps depend on
                pulled.W[name] = v.W[name] + t
            for name, factors in pulled.factors.items():
                pulled.factors[name] = v.factors[name].plus(factors)
            v = pulled
        grads = v.W | v.dense
        return MetaGradient(losses, {name: grads[name] for name in self.names})

    def _extended(self, factors: dict[str, Factors], k: int, rows: dict[str, Factors]) -> dict[str, Factors]:
        """Write h and δ of step k into H and D, where the rows of later steps are zero."""
        if self.steps == 1 or not rows:
            return rows
        if k == 0:
            factors = {name: new.zeros(self.steps) for name, new in rows.items()}
        for name, new in rows.items():
            factors[name].write(self._rows(name, k), new)
        return factors

    def _rows(self, name: str, k: int) -> slice:
        """Locate the rows of step k in H and D, (tasks, rows, features)."""
        points = self.phases.low_rank[name]
        return slice(k * points, (k + 1) * points)

    def _step(self, k: int, inputs: Inputs) -> Step:
        """Get the functions of step k, traced for inputs like these when first asked for."""
        shared = k == 0 and self.tasks is not None
        if shared not in self._steps:
            self._steps[shared] = self._traced_step(shared, inputs)
        return self._steps[shared]

    def _traced_step(self, shared: bool, inputs: Inputs) -> Step:
        """Trace an inner step and its pull-back as one, and split them where it pays most."""
        if not self.second_order:
            return Step(self._ready(self._traced(lambda inputs: (self.phases.step(shared, inputs), []), inputs)), None)
        joint = self._traced(partial(self.phases.step_and_pull_back, shared), inputs, self.phases.example_cotangents())
        for policy in (
            ResidualPolicy("activations kept", is_view, math.inf if joint.draws else self.phi_bytes),
            ResidualPolicy("products kept", is_cheap, PRODUCT_BYTES / self.steps),
            ResidualPolicy("activations computed again", is_any, math.inf),
        ):
            self.kept = policy.kept
            halves = split(joint, policy.recompute)
            if halves.residual_bytes <= policy.most_bytes:
                break
        return Step(self._ready(halves.forward), self._ready(halves.pull_back))

    def _outer_loss(self, inputs: Inputs) -> tuple[Tensor, Phi]:
        """Compute the query losses and their gradient v, by a function traced for inputs like these at first."""
        if self._query is None:
            shared = self.steps == 0 and self.tasks is not None
            self._query = self._ready(self._traced(partial(self.phases.outer_loss, shared), inputs))
        result: tuple[Tensor, Phi] = self._query(inputs)
        return result

    def _traced(self, function: Callable[..., Any], *example: Any) -> Traced:
        """Trace a part of the sweep; what its forward sets on the model, then a stand-in, no other part may see."""
        with unchanged(self.phases.spec.model):
            return trace(function, *example)

    def _ready(self, part: Traced) -> Traced:
        """Compile a part of the sweep, unless the whole is compiled as one."""
        self.draws |= part.draws
        if not self.in_one_graph:
            part.compile()
        return part
