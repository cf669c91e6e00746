"""One call in torch, on the user's own modules: what it may not leave behind, and what it cannot be right for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import getattr_static
from typing import Any

import torch
from torch import Tensor

from baselines._shared.module_state import exclusive, stock, unchanged
from baselines._shared.servable import refusal
from baselines.contract import Baseline, Params, Spec, Stateless, TaskBatch

PAST = "the model keeps a parameter in another place, too (a list, a closure), where no adapted one can stand for it"

GROWS = "a call of the model gives it other parameters, buffers or modules: call it once before"


class Absent(Tensor):
    """What lies where a tensor of the model would be read at the wrong time: to ask for its values raises.

    Its form is that of every φ, and may be asked for, as whoever looks at all tensors of the process does.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raise RuntimeError for all but `FORM`."""
        if func in FORM:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        raise RuntimeError(
            "a tensor of the model is read where adapted ones are not in place: in a backward pass (by torch.utils."
            "checkpoint, a hook or a function of its own), by the loss, or past the module (a list, a bound method)"
        )


FORM = frozenset(
    (
        *(getattr(Tensor, name) for name in ("size", "numel", "nelement", "dim", "stride", "element_size", "__len__")),
        *(getattr_static(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "layout", "is_sparse")),
    )
)


class Eager(Baseline):
    """An implementation that runs the model's own code, operation by operation."""

    network: Stateless
    theta: Params
    stock: bool
    """The model, its meta-parameters θ, and whether all code is torch's own, as they are in the present call."""
    absence: Params
    """What lies in the model's places while its own tensors are absent."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.absence = {}

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It needs parameters that have values, and no hooks on them; this is asked again in every call."""
        return refusal(spec, cls.computes == "maml" and spec.inner.steps > 0)

    @contextmanager
    def call(self, batch: TaskBatch) -> Iterator[TaskBatch]:
        """Around a call, whose thread alone has the model; yields a copy of the batch, for what writes to its inputs.

        Attributes and containers of modules are put back afterwards, whatever happens. Raises RuntimeError for what
        cannot be served.
        """
        model = self.spec.model
        grad_mode = torch.inference_mode(False) if torch.is_inference_mode_enabled() else torch.enable_grad()
        with exclusive(model):
            if reason := self.unavailable(self.spec):
                raise RuntimeError(reason)
            self.stock = stock(model) and getattr(self.spec.loss, "__module__", None) == "torch.nn.functional"
            with self._as_it_was(), grad_mode:
                self.network = Stateless(model)
                self.theta = {name: p for name, p in self.network.parameters.items() if p.requires_grad}
                own = TaskBatch(*(part.detach().clone() for part in batch))
                versions = [part._version for part in own]
                yield own
                if versions != [part._version for part in own]:
                    raise RuntimeError("the model or the loss writes to the points that it gets")

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        keeping: AbstractContextManager[list[Any]] = nullcontext([]) if self.stock else unchanged(self.spec.model)
        changed: list[Any] = []
        try:
            with keeping as changed:
                yield
        finally:
            self.absence = {}
            if changed:  # also where that is why the call failed
                self.found_changed(changed)

    def found_changed(self, containers: list[Any]) -> None:
        """What has to follow where forwards changed these attributes and containers of modules, which are put back.

        Raises RuntimeError where they hold parameters, buffers or modules.
        """
        ids = set(map(id, containers))
        if any({id(m._parameters), id(m._buffers), id(m._modules)} & ids for m in self.spec.model.modules()):
            raise RuntimeError(GROWS)

    def absent(self) -> AbstractContextManager[None]:
        """While active, whoever reads a meta-parameter or a buffer of the model gets a RuntimeError."""
        if self.stock:  # nobody does
            return nullcontext()
        if not self.absence:
            tensors = self.theta | self.network.buffers
            self.absence = {name: tensor.detach().as_subclass(Absent) for name, tensor in tensors.items()}
        return self.network.holding(self.absence)
