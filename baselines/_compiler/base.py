"""What the compiled implementations share: code for every kind of meta-batch, when it holds, what it falls back to."""

import warnings
from collections import deque
from collections.abc import Iterator
from threading import RLock
from time import perf_counter
from typing import ClassVar

import torch
from torch import Tensor

from baselines._compiler import tracing
from baselines._compiler.agreement import agree, disagreement, is_finite
from baselines._compiler.code import Code
from baselines._compiler.cuda_graph import Recorded
from baselines._compiler.guards.execution import Execution
from baselines._compiler.guards.forms import Form, forms, modes, quick_check, surroundings
from baselines._compiler.guards.guards import Guards
from baselines._compiler.guards.overwriting import overwritten
from baselines._compiler.meta_gradient import Run, Sweep
from baselines._shared.module_state import exclusive, unchanged
from baselines._shared.random_state import RandomState
from baselines.contract import Baseline, MetaGradient, Spec, Stateless, TaskBatch, is_undisturbed

APART = ("convolution", "batch_norm", "layer_norm")
LIMIT = {"cpu": 64, "cuda": 16}
"""So many kinds of meta-batches keep their code, the most recently used ones; a CUDA graph keeps its memory, too."""
SHARE = 0.02
"""The part of the time that later comparisons with the fallback may take."""


class CompiledSweep(Baseline):
    """Compiled for every form of meta-batch and parameters, and anew when something has changed that a forward reads.

    An answer is never one for how the network was: whatever a forward or the loss can be seen to read (attributes and
    their names, containers, NumPy scalars, functions, their closures and the globals they name, classes, hooks,
    structure and tying, autocast and the default dtype) is asked for before each call. What cannot be seen (files,
    time, iterators, random numbers other than those of torch's default generator, and the like) is computed by
    `fallback`, and `execution` says why. PyTorch, NumPy and the standard library are taken as constant. The first
    result of each code is compared with the fallback's, and so is now and then a later one; code that gives another is
    given up.

    All tasks go together, except where the network convolves or normalises by batch or layer. With weights of its own
    for each task a convolution is a grouped one, several times slower and larger than task after task; and derivatives
    of a `vmap` over these normalisations are wrong from the second on (see `vectorized`).
    """

    compiles = True
    second_order: ClassVar[bool]
    fallback: ClassVar[type[Baseline]]

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.lock = RLock()
        self.plain = self.fallback(spec)
        self.codes: deque[Code] = deque()
        """The most recently used first."""
        self.changed: dict[str, object] | None = None
        """What was read when a change was met last; code is made when it is met again."""
        self.unsteady: set[Form] = set()
        """The forms of tensors with which each call has changed what the next one reads."""
        self.spent_s = 0.0

    @classmethod
    def lacking(cls, device: torch.device) -> str | None:
        """Compiling takes a recent PyTorch and, for the CPU, a C++ compiler."""
        return tracing.no_compiler(device)

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It serves what its fallback does."""
        return cls.lacking(spec.device) or cls.fallback.unavailable(spec)

    @property
    def _name(self) -> str:
        return self.fallback.__module__.rpartition(".")[2]

    @property
    def steps(self) -> int:
        """Inner steps of the sweep."""
        return self.spec.inner.steps

    def points(self, batch: TaskBatch) -> TaskBatch:
        """The points that the sweep gets."""
        return batch

    def prepare(self, batch: TaskBatch) -> TaskBatch:
        """The batch as the sweep gets it."""
        return self.points(batch)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Run the code for this kind of meta-batch, as long as its guards hold; else make it."""
        with self.lock:
            around = surroundings(self.spec.device.type)
            if self.codes and self.codes[0].still_serves(around, prepared):
                return self._run(self.codes[0], prepared)
            with exclusive(self.spec.model):  # in another thread's hands the parameters may be none of the model's
                code = self._code((around, modes(), *forms(prepared)), prepared)
                return self._run(code, prepared) if code else self._first(prepared)

    def _run(self, code: Code, batch: TaskBatch) -> MetaGradient:
        """The result of the code, or of the fallback where there is none."""
        self.execution = code.execution
        if code.guards is None or code.sweep is None or code.run is None:
            return self._by_fallback(batch)
        start = perf_counter()
        with torch.no_grad():
            result = code(code.guards, code.sweep, code.run, batch)
        self.spent_s += perf_counter() - start
        due = not code.compared or self.spent_s * SHARE > code.fallback_s
        return self._compared(code, result, batch) if due and not is_undisturbed() else result

    def _code(self, form: Form, batch: TaskBatch) -> Code | None:
        """The code that holds for the call, moved to the front; None if there is none."""
        for code in self.codes:
            if code.serves(form):
                if code.guards:
                    code.quick = quick_check([*batch, *code.guards.tensors])
                if code is not self.codes[0]:
                    self.codes.remove(code)
                    self.codes.appendleft(code)
                return code
        return None

    def _first(self, batch: TaskBatch) -> MetaGradient:
        """Serve a call for which there is no code, and make the code where it is worth it.

        The call itself is made by the fallback, and watched; repeating it, with the same random numbers, tells what it
        changes and how long it takes.
        """
        model, before = self.spec.model, RandomState(self.spec.device)
        with Execution() as execution:
            expected = self._by_fallback(batch)
        after = RandomState(self.spec.device)

        def again() -> MetaGradient:
            with before.again():
                return self._by_fallback(batch)

        guards = Guards(model, self.spec.loss, execution, {})
        if not guards.unseen and (written := overwritten(model, execution, again, expected)):
            guards = Guards(model, self.spec.loss, execution, written)
        if not before.same_beside_torch(after):
            guards.unseen.append("draws from Python's or NumPy's generators")
        around = surroundings(self.spec.device.type)
        if torch.is_autocast_enabled(self.spec.device.type):
            guards.unseen.append("runs under autocast, which rounds elsewhere when operations are compiled together")
        form = (around, modes(), *forms(batch), *forms(guards.tensors))
        code = Code(guards, form, None, None, f"not compiled, as {self._name}", compared=False, fallback_s=0.0)
        others = [each for each in self.codes if each.form == form]
        if guards.unseen:
            code.execution += f": the model or the loss {guards.unseen[0]}"
        elif others and self.changed != guards.state:
            self.changed = guards.state
            self.execution = f"{code.execution}: {others[0].change(guards)} has changed since the last call"
            return expected
        else:
            start = perf_counter()
            again()
            code.fallback_s = perf_counter() - start
            if guards.hold():
                self._compile(code, guards, batch, expected)
            else:
                code.execution += f": each call changes {guards.change()}"
                if form not in self.unsteady:  # it may be what is only done once
                    self.unsteady.add(form)
                    self.execution = code.execution
                    return expected
                code.guards = None
        self.execution = code.execution
        self._keep(code)
        return expected

    def _keep(self, code: Code) -> None:
        """Keep the code, and let go what was used least recently and what old guards keep of the model."""
        for other in self.codes:
            other.forget()
        self.codes.appendleft(code)
        while len(self.codes) > LIMIT.get(self.spec.device.type, 16):
            self.codes.pop()

    def _compile(self, code: Code, guards: Guards, batch: TaskBatch, expected: MetaGradient) -> None:
        """Try one way after the other, the fastest first, and keep the one that works."""
        failures = []
        for tasks in self._ways(batch):
            how = "one task after the other" if tasks is None else "all tasks together"
            try:
                with torch.no_grad(), unchanged(self.spec.model):
                    sweep = Sweep(self.spec, self.steps, self.second_order, tasks, [t[0] for t in batch])
                    inputs = sweep.phases.inputs(guards.parameters, guards.buffers)
                    result = sweep.named(sweep(*inputs, batch))
                    run: Run = Recorded(sweep, inputs, batch) if self.spec.device.type == "cuda" else sweep
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a tracer or a compiler does not know
                failures.append(f"{how} failed ({type(error).__name__}: {str(error).partition(chr(10))[0][:100]})")
                continue
            if not sweep.draws and not agree(result, expected, self.plain, batch):
                failures.append(f"{how} disagreed by {disagreement(result, expected):.1e}")
                continue
            sweep.failures = failures
            code.sweep, code.run, code.execution = sweep, run, sweep.execution
            code.compared = sweep.draws or is_finite(expected)
            return
        code.execution = "; ".join([code.execution, *failures])

    def _compared(self, code: Code, result: MetaGradient, batch: TaskBatch) -> MetaGradient:
        """Compare a later result with the fallback's, and give up code that does not agree."""
        if code.sweep is None or code.sweep.draws:
            return result
        start = perf_counter()
        with unchanged(self.spec.model):
            expected = self._by_fallback(batch)
        self.spent_s, code.fallback_s = 0.0, perf_counter() - start
        code.compared = is_finite(expected)
        if agree(result, expected, self.plain, batch):
            return result
        code.sweep = code.run = None
        code.execution = (
            f"not compiled, as {self._name}: a later result disagreed by {disagreement(result, expected):.1e}"
        )
        warnings.warn(
            f"{type(self).__name__}: the compiled code differs from {self._name}, so the model or the loss reads "
            "something that cannot be seen; earlier results may have been wrong",
            RuntimeWarning,
            stacklevel=4,
        )
        self.execution = code.execution
        return expected

    def _ways(self, batch: TaskBatch) -> Iterator[int | None]:
        """How many tasks go together: all, or None for one after the other."""
        if self._may_go_together(batch):
            yield len(batch.support_x)
        yield None

    def _may_go_together(self, batch: TaskBatch) -> bool:
        """Whether the network is known to have none of the operations in APART."""
        model = self.spec.model
        network = Stateless(model)
        tensors = dict((*model.named_parameters(), *model.named_buffers()))

        def forward(x: Tensor, *values: Tensor) -> list[Tensor]:
            own = dict(zip(tensors, (t.clone() for t in values), strict=True))
            return [network(own, x)]

        try:
            with unchanged(model):
                names, _ = tracing.operations(forward, [batch.support_x[0], *tensors.values()])
            return not any(apart in name for apart in APART for name in names)
        except Exception:  # what it has is not known; why it cannot be traced, the other way will say
            return False

    def _by_fallback(self, batch: TaskBatch) -> MetaGradient:
        return self.plain.to_torch(self.plain.meta_gradient(self.plain.prepare(batch)))
