"""One call in torch, on the user's own modules: what it may not leave behind, and what it cannot be right for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from baselines._modules import exclusive, stock, unchanged
from baselines.contract import Baseline, Params, Spec, Stateless, TaskBatch

PAST = "the model keeps a parameter in another place, too (a list, a closure), where no adapted one can stand for it"


class Absent(Tensor):
    """What lies where a tensor of the model would be read at the wrong time: whatever is asked of it, it raises."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Raise RuntimeError."""
        raise RuntimeError(
            "a tensor of the model is read where adapted ones are not in place: in a backward pass (by torch.utils."
            "checkpoint, a hook or a function of its own), by the loss, or past the module (a list, a bound method)"
        )


def nothing() -> Absent:
    """A new one: it may not outlive a call, for whoever looks at all tensors of the process would be refused, too."""
    return torch.empty(0, device="cpu").as_subclass(Absent)


class Eager(Baseline):
    """An implementation that runs the model's own code, operation by operation."""

    network: Stateless
    theta: Params
    stock: bool
    """The model, its meta-parameters θ, and whether all code is torch's own, as they are in the present call."""

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It needs parameters that have values, and no hooks on them; this is asked again in every call."""
        return refusal(spec.model)

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
            keeping: AbstractContextManager[list[Any]] = nullcontext([]) if self.stock else unchanged(model)
            with keeping as changed, grad_mode:
                self.network = Stateless(model)
                self.theta = {name: p for name, p in self.network.parameters.items() if p.requires_grad}
                own = TaskBatch(*(part.detach().clone() for part in batch))
                versions = [part._version for part in own]
                yield own
                if versions != [part._version for part in own]:
                    raise RuntimeError("the model or the loss writes to the points that it gets")
            if changed:
                ids = set(map(id, changed))
                if any({id(m._parameters), id(m._buffers), id(m._modules)} & ids for m in model.modules()):
                    raise RuntimeError(
                        "a call of the model gives it other parameters, buffers or modules: call it before"
                    )

    def absent(self) -> AbstractContextManager[None]:
        """While active, whoever reads a meta-parameter or a buffer of the model gets a RuntimeError."""
        return self.network.holding(dict.fromkeys([*self.theta, *self.network.buffers], nothing()))


class WithGrad(Eager):
    """An implementation that has its gradients from `backward`, in the parameters' `.grad`."""

    @contextmanager
    def call(self, batch: TaskBatch) -> Iterator[TaskBatch]:
        """As `Eager` does; the model has parameters with the values of its own, and a `.grad` that is theirs alone."""
        with super().call(batch) as own:
            before = [(p, p.grad) for p in self.theta.values()]
            for p in self.theta.values():
                p.grad = None
            try:
                alike: Params = {name: nn.Parameter(p.detach()) for name, p in self.theta.items()}
                with self.network.holding(alike | self.network.buffers):
                    yield own
                if any(p.grad is not None for p in self.theta.values()):
                    raise RuntimeError(PAST)
            finally:
                for p, grad in before:
                    p.grad = grad


def refusal(model: nn.Module) -> str | None:
    """Why no implementation can serve the model as it is; None if one may."""
    for name, p in model.named_parameters():
        if is_lazy(p):
            return f"{name} has no shape yet: call the model once before"
        if p.is_meta:
            return f"{name} is on the meta device, and has no values"
        if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            return f"{name} has a hook, which adapted parameters would not have"
    return None


def absent(model: nn.Module) -> AbstractContextManager[None]:
    """While active, whoever reads any tensor of the model gets a RuntimeError."""
    network = Stateless(model)
    return network.holding(dict.fromkeys([*network.parameters, *network.buffers], nothing()))
