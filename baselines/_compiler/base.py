"""Serve meta-gradients by compiled code: make it for each kind of meta-batch, check that it holds, or fall back."""

import warnings
from collections import deque
from collections.abc import Callable
from threading import RLock
from time import perf_counter
from typing import ClassVar

import torch

from baselines._compiler import tracing
from baselines._compiler.agreement import agree, disagreement, is_finite
from baselines._compiler.code import Code
from baselines._compiler.cuda_graph import CudaGraph
from baselines._compiler.guards.execution import Execution
from baselines._compiler.guards.forms import Form, forms, modes, quick_check, surroundings
from baselines._compiler.guards.guards import Guards
from baselines._compiler.guards.overwriting import overwritten
from baselines._compiler.meta_gradient import Sweep
from baselines._compiler.network import Network, examine
from baselines._shared.module_state import exclusive, unchanged
from baselines._shared.random_state import RandomState
from baselines.contract import Baseline, MetaGradient, Spec, TaskBatch, is_undisturbed

LIMIT = {"cpu": 64, "cuda": 16}
"""How many kinds of meta-batches keep their code, the most recently used ones; a CUDA graph keeps its memory, too."""
SHARE = 0.02
"""The part of the time that later comparisons with the fallback may take."""


class CompiledSweep(Baseline):
    """Compile the sweep for every form of meta-batch and parameters, and anew when what a forward reads has changed.

    An answer is never one for how the network was: whatever a forward or the loss can be seen to read (attributes and
    their names, containers, NumPy scalars, functions, their closures and the globals they name, classes, hooks,
    structure and tying, autocast and the default dtype) is checked before each call. What cannot be seen (files, time,
    iterators, random numbers other than those of torch's default generator, and the like) is computed by `fallback`,
    and `execution` says why. PyTorch, NumPy and the standard library are taken as constant. The first result of each
    code is compared with the fallback's, and so is now and then a later one; code that gives another is given up.

    All tasks go together where the network allows it (`Network.vectorizes`), else one after the other.
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
        """Say whether a recent PyTorch or, for the CPU, a C++ compiler is missing."""
        return tracing.no_compiler(device)

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """Refuse what the fallback refuses."""
        return cls.lacking(spec.device) or cls.fallback.unavailable(spec)

    @property
    def steps(self) -> int:
        """Count the inner steps of the sweep."""
        return self.spec.inner.steps

    def points(self, batch: TaskBatch) -> TaskBatch:
        """Choose the points that the sweep gets."""
        return batch

    def prepare(self, batch: TaskBatch) -> TaskBatch:
        """Give the batch as the sweep gets it."""
        return self.points(batch)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Run the code for this kind of meta-batch, as long as its guards hold; else make it."""
        with self.lock:
            state = surroundings(self.spec.device.type)
            if self.codes and self.codes[0].still_serves(state, prepared):
                return self._run(self.codes[0], prepared)
            with exclusive(self.spec.model):  # in another thread's hands the parameters may be none of the model's
                code = self._code((state, modes(), *forms(prepared)), prepared)
                return self._run(code, prepared) if code else self._first(prepared)

    def _run(self, code: Code, batch: TaskBatch) -> MetaGradient:
        """Run the code, or the fallback where there is none, and compare the two when that is due."""
        self.execution = code.execution
        if code.run is None:
            return self._by_fallback(batch)
        start = perf_counter()
        with torch.no_grad():
            result = code(batch)
        self.spent_s += perf_counter() - start
        due = not code.compared or self.spent_s * SHARE > code.fallback_s
        return self._compared(code, result, batch) if due and not is_undisturbed() else result

    def _code(self, form: Form, batch: TaskBatch) -> Code | None:
        """Move the code that holds for the call to the front; None if there is none."""
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
        """Serve a call for which there is no code by the fallback, and make the code where it is worth it."""
        result, guards, repeat = self._watched(batch)
        form = (surroundings(self.spec.device.type), modes(), *forms(batch), *forms(guards.tensors))
        code = Code(guards, form, f"not compiled, as {self._fallback_name}")
        siblings = [sibling for sibling in self.codes if sibling.form == form]
        if guards.unseen:
            code.execution += f": the model or the loss {guards.unseen[0]}"
        elif siblings and self.changed != guards.state:  # a change that comes once is not worth compiling for
            self.changed = guards.state
            self.execution = f"{code.execution}: {siblings[0].change(guards)} has changed since the last call"
            return result
        else:
            start = perf_counter()
            repeat()
            code.fallback_s = perf_counter() - start
            if guards.hold():
                self._compile(code, guards, batch, result)
            else:
                code.execution += f": each call changes {guards.change()}"
                if form not in self.unsteady:  # it may be what is only done once
                    self.unsteady.add(form)
                    self.execution = code.execution
                    return result
                code.guards = None
        self.execution = code.execution
        self._keep(code)
        return result

    def _watched(self, batch: TaskBatch) -> tuple[MetaGradient, Guards, Callable[[], MetaGradient]]:
        """Call the fallback, and derive guards from what ran; also returns a repetition with the same random numbers.

        Attributes of modules that the call writes before it reads them are not guarded, which repetitions show.
        """
        model, loss, device = self.spec.model, self.spec.loss, self.spec.device
        before = RandomState(device)
        with Execution() as execution:
            result = self._by_fallback(batch)
        after = RandomState(device)

        def repeat() -> MetaGradient:
            with before.again():
                return self._by_fallback(batch)

        guards = Guards(model, loss, execution, {})
        if not guards.unseen and (written := overwritten(model, execution, repeat, result)):
            guards = Guards(model, loss, execution, written)
        if not before.same_beside_torch(after):
            guards.unseen.append("draws from Python's or NumPy's generators")
        if torch.is_autocast_enabled(device.type):
            guards.unseen.append("runs under autocast, which rounds elsewhere when operations are compiled together")
        return result, guards, repeat

    def _keep(self, code: Code) -> None:
        """Keep the code, and let go what was used least recently and what old guards keep of the model."""
        for older in self.codes:
            older.forget()
        self.codes.appendleft(code)
        while len(self.codes) > LIMIT.get(self.spec.device.type, 16):
            self.codes.pop()

    def _compile(self, code: Code, guards: Guards, batch: TaskBatch, reference: MetaGradient) -> None:
        """Give `code` a compiled sweep whose result agrees with the fallback's: all tasks together, or one by one."""
        network = self._network(batch)
        failures: list[str] = []
        for tasks in (len(batch.support_x), None) if network is not None and network.vectorizes else (None,):
            order = "one task after the other" if tasks is None else "all tasks together"
            try:
                with torch.no_grad(), unchanged(self.spec.model):
                    sweep = Sweep(self.spec, self.steps, self.second_order, tasks, network)
                    start = sweep.phases.start(guards.parameters, guards.buffers)
                    result = sweep(*start, batch)
                    run = CudaGraph(sweep, *start, batch) if self.spec.device.type == "cuda" else sweep
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a tracer or a compiler does not know
                failures.append(f"{order} failed ({type(error).__name__}: {str(error).partition(chr(10))[0][:100]})")
                continue
            if not sweep.draws and not agree(result, reference, self.plain, batch):
                failures.append(f"{order} disagreed by {disagreement(result, reference):.1e}")
                continue
            sweep.failures = failures
            code.sweep, code.run, code.execution = sweep, run, sweep.execution
            code.compared = sweep.draws or is_finite(reference)
            return
        code.execution = "; ".join([code.execution, *failures])

    def _network(self, batch: TaskBatch) -> Network | None:
        """Trace what the network does; None where it cannot be traced, the reason of which the sweep will tell."""
        try:
            return examine(self.spec.model, batch.support_x[0], batch.query_x[0])
        except Exception:
            return None

    def _compared(self, code: Code, result: MetaGradient, batch: TaskBatch) -> MetaGradient:
        """Compare a later result with the fallback's, and give up code that does not agree."""
        if code.sweep is None or code.sweep.draws:
            return result
        start = perf_counter()
        with unchanged(self.spec.model):
            reference = self._by_fallback(batch)
        self.spent_s, code.fallback_s = 0.0, perf_counter() - start
        code.compared = is_finite(reference)
        if agree(result, reference, self.plain, batch):
            return result
        name = self._fallback_name
        code.sweep = code.run = None
        code.execution = f"not compiled, as {name}: a later result disagreed by {disagreement(result, reference):.1e}"
        warnings.warn(
            f"{type(self).__name__}: the compiled code differs from {name}, so the model or the loss reads something "
            "that cannot be seen; earlier results may have been wrong",
            RuntimeWarning,
            stacklevel=4,
        )
        self.execution = code.execution
        return reference

    def _by_fallback(self, batch: TaskBatch) -> MetaGradient:
        """Compute the meta-gradient without compiled code."""
        return self.plain.to_torch(self.plain.meta_gradient(self.plain.prepare(batch)))

    @property
    def _fallback_name(self) -> str:
        return self.fallback.__module__.rpartition(".")[2]
