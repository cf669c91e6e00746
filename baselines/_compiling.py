"""What the compiled implementations share: a sweep per shape of meta-batch, how it runs, what it falls back to."""

import math
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines import _tracing
from baselines._cuda_graph import Recorded
from baselines._modules import signature, unchanged
from baselines._phases import Values
from baselines._sweep import Sweep
from baselines.contract import Baseline, MetaGradient, Spec, Stateless, TaskBatch

APART = ("convolution", "batch_norm", "layer_norm")
SHAPES = 16  # so many kinds of meta-batches keep their code; GPU memory is part of it
Run = Callable[[Values, Values, TaskBatch], Values]


class Prepared(NamedTuple):
    """A meta-batch with the model's present tensors, as `Phases.inputs` gives them; none before the first call."""

    batch: TaskBatch
    key: tuple[object, ...]
    tensors: tuple[Values, Values] | None


class CompiledSweep(Baseline):
    """Compiled for every form of meta-batch, parameters and modules' plain attributes (`signature`) that it meets.

    All tasks go together, except where the network convolves or normalises by batch or layer. With weights of its own
    for each task a convolution is a grouped one, several times slower and larger than task after task; and derivatives
    of a `vmap` over these normalisations are wrong from the second on (see `vectorized`). The first result of each
    sweep is compared with that of `fallback`. Where no way can be compiled or agrees, `fallback` does it, and
    `execution` says so.
    """

    compiles = True
    second_order: ClassVar[bool]
    fallback: ClassVar[type[Baseline]]

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.plain = self.fallback(spec)
        self.ready: dict[tuple[object, ...], tuple[Sweep, Run]] = {}
        self.given_up: dict[object, str] = {}
        """What is said where no way works, by the form of the tensors: other attributes do not mend it."""

    @classmethod
    def lacking(cls, device: torch.device) -> str | None:
        """Compiling takes a recent PyTorch and, for the CPU, a C++ compiler."""
        return _tracing.no_compiler(device)

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It serves what its fallback does."""
        return cls.lacking(spec.device) or cls.fallback.unavailable(spec)

    @property
    def steps(self) -> int:
        """Inner steps of the sweep."""
        return self.spec.inner.steps

    def points(self, batch: TaskBatch) -> TaskBatch:
        """The points that the sweep gets."""
        return batch

    def prepare(self, batch: TaskBatch) -> Prepared:
        """The batch beside the model's tensors."""
        batch = self.points(batch)
        key = signature(self.spec.model, batch)
        ready = self.ready.get(key)
        return Prepared(batch, key, ready[0].phases.inputs() if ready else None)

    def meta_gradient(self, prepared: Prepared) -> MetaGradient:
        """The sweep as compiled code; the first call for a signature compiles it."""
        batch, key, tensors = prepared
        if key in self.ready:
            sweep, run = self.ready[key]
            with torch.no_grad():
                found = sweep.named(run(*(tensors or sweep.phases.inputs()), batch))
            self.execution = sweep.execution
            return found
        if key[0] not in self.given_up and (first := self._first(batch, key)):
            return first
        self.execution = self.given_up[key[0]]
        return self._by_fallback(batch)

    def _first(self, batch: TaskBatch, key: tuple[object, ...]) -> MetaGradient | None:
        """Try one way after the other, the fastest first, and keep the one that works."""
        failures = []
        for tasks in self._ways(batch):
            how = "one task after the other" if tasks is None else "all tasks together"
            try:
                with torch.no_grad(), unchanged(self.spec.model):
                    sweep = Sweep(self.spec, self.steps, self.second_order, tasks, [t[0] for t in batch])
                    found = sweep.named(sweep(*sweep.phases.inputs(), batch))
                    run: Run = Recorded(sweep, batch) if self.spec.device.type == "cuda" else sweep
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a tracer or a compiler does not know
                failures.append(f"{how} failed ({type(error).__name__}: {str(error).partition(chr(10))[0][:100]})")
                continue
            apart = self._disagreement(sweep, found, batch)
            if not apart < torch.finfo(self.spec.dtype).eps ** 0.3:  # 2e-5 in float64: far above rounding, far below 1
                failures.append(f"{how} disagreed by {apart:.1e}")
                continue
            sweep.said = failures
            self.ready[key] = sweep, run
            for old in list(self.ready)[:-SHAPES]:
                del self.ready[old]
            self.execution = sweep.execution
            return found
        self.given_up[key[0]] = "; ".join(
            [f"not compiled, as {self.fallback.__module__.rpartition('.')[2]}", *failures]
        )
        return None

    def _disagreement(self, sweep: Sweep, found: MetaGradient, batch: TaskBatch) -> float:
        """The distance from what the fallback finds, relative to it; 0 where random numbers make each call another."""
        if sweep.draws:
            return 0.0
        with unchanged(self.spec.model):
            expected = self._by_fallback(batch).grads
        apart = sum(float((g - expected[name]).double().square().sum()) for name, g in found.grads.items())
        size = sum(float(g.double().square().sum()) for g in expected.values())
        return math.sqrt(apart / size) if size else math.sqrt(apart)

    def _ways(self, batch: TaskBatch) -> Iterator[int | None]:
        """How many tasks go together: all, or None for one after the other."""
        if self._may_go_together(batch):
            yield len(batch.support_x)
        yield None

    def _may_go_together(self, batch: TaskBatch) -> bool:
        """Whether the network is known to have none of the operations in APART."""
        model = self.spec.model
        network = Stateless(model)
        named = dict((*model.named_parameters(), *model.named_buffers()))

        def forward(x: Tensor, *tensors: Tensor) -> list[Tensor]:
            own = dict(zip(named, (t.clone() for t in tensors), strict=True))
            return [network(own, x)]

        try:
            with unchanged(model):
                names, _ = _tracing.operations(forward, [batch.support_x[0], *named.values()])
            return not any(apart in name for apart in APART for name in names)
        except Exception:  # what it has is not known; why it cannot be traced, the other way will say
            return False

    def _by_fallback(self, batch: TaskBatch) -> MetaGradient:
        return self.plain.to_torch(self.plain.meta_gradient(self.plain.prepare(batch)))
