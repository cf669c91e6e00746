"""What an implementation of the meta-gradient is: the types it receives, returns and has to honour.

The harness owns everything that must be equal between implementations: initial weights, tasks, the loss and its
reduction, the outer optimizer, seeds, threads, dtype and the evaluation. An implementation owns one thing, the
meta-gradient, in the terms of Finn et al. 2017 (https://arxiv.org/abs/1703.03400):

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ)        inner loop on a task's support loss S

    maml         mean over tasks of (I − α∇²S(φ₀)) … (I − α∇²S(φ_{K−1})) ∇Q(φ_K)   (eq. 1)
    fomaml       mean over tasks of ∇Q(φ_K)                                          (section 5.2)
    reptile      mean over tasks of θ − φ_K                                          (Nichol et al. 2018, alg. 2)
    pretraining  mean over tasks of ∇S(θ): no inner loop; the paper's baseline        (section 5.1)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

Computes = Literal["maml", "fomaml", "reptile", "pretraining"]
Params = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
_UNDISTURBED = ContextVar("undisturbed", default=False)


@dataclass(frozen=True)
class InnerLoop:
    """Plain gradient descent on the support loss: `steps` (K) steps of size `lr` (α)."""

    lr: float
    steps: int


@dataclass(frozen=True)
class Spec:
    """What one implementation is built for.

    model: the meta-model; its parameters are θ, and they change between calls.
    loss: (prediction, target) -> scalar, the mean over points.
    """

    model: nn.Module
    loss: Loss
    inner: InnerLoop
    device: torch.device
    dtype: torch.dtype


class TaskBatch(NamedTuple):
    """One meta-batch; every tensor is (tasks, points, ...), support and query may differ in points."""

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


class MetaGradient(NamedTuple):
    """The result of one call.

    task_losses: (tasks,), the query loss of each adapted model, detached; None where it is not computed.
    grads: one entry per parameter that requires a gradient, by its name in `named_parameters()`, each of the
        parameter's shape, dense; zeros where the loss does not depend on it; one entry for a tied tensor.
    """

    task_losses: Tensor | None
    grads: Params


class Baseline:
    """One implementation of the meta-gradient; its name is the file's, with `_` replaced by `-`.

    What holds for every call, at any weights, for any number of tasks, and is checked:

    - the result is that of the model and of the batch as they are now, whatever they were when it was built or asked
      before; what it cannot serve exactly it refuses, by `unavailable` or by a RuntimeError of one line;
    - every forward starts from the model's buffers; what it changes in a module is undone, also where a call fails;
    - threads that call with one model, or with models that share a layer, wait for each other;
    - it stays valid and unchanged through the next call, and is attached to no graph;
    - parameters, buffers, modes, hooks, `.grad` fields (None before the call) and the batch are as they were, to the
      last bit, and so is what all code of a process shares: random generators, dtype, gradient mode, threads, …;
    - nothing stays behind: memory does not grow from call to call;
    - all of the work is done in `meta_gradient`, by threads of this process on the processors that it is bound to.
      `prepare` and `to_torch` take no longer than converting does (thrice the framework's own conversion and 0.2 ms).
    """

    computes: ClassVar[Computes]
    library: ClassVar[str | None] = None
    """The distribution that is measured, as its package index names it; None for our own code."""
    compiles: ClassVar[bool] = False
    """Whether the first call for a shape compiles, and so takes seconds."""
    framework: ClassVar[str] = "torch"
    """Whose memory allocator its tensors come from."""
    execution: str = ""
    """How the last call was executed, where the implementation chooses; a fallback is told here, too."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __reduce__(self) -> tuple[type["Baseline"], tuple[Spec]]:
        """Copy, or pickle, as what is built for the same spec: a deep copy has a model of its own."""
        return type(self), (self.spec,)

    @classmethod
    def lacking(cls, device: torch.device) -> str | None:
        """What this machine lacks for the implementation, whatever the spec, asked first; None if nothing."""
        return None

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """Why this implementation cannot serve `spec`, asked before anything is built; None if it can."""
        return None

    def prepare(self, batch: TaskBatch) -> Any:
        """The batch and the model's parameters in the framework's own resident form, until the model changes.

        Conversion only, which is not timed: what belongs to the meta-gradient belongs into `meta_gradient`.
        """
        return batch

    def meta_gradient(self, prepared: Any) -> Any:
        """The timed call: the meta-gradient at the model's current parameters, averaged over tasks."""
        raise TypeError(f"{type(self).__name__} does not define meta_gradient")

    def to_torch(self, result: Any) -> MetaGradient:
        """The result of `meta_gradient` as torch tensors."""
        assert isinstance(result, MetaGradient)
        return result

    def synchronize(self) -> None:
        """Wait until everything that was asked for has been computed."""
        if self.spec.device.type == "cuda":
            torch.cuda.synchronize(self.spec.device)


def trainable(model: nn.Module) -> Params:
    """The meta-parameters θ: every parameter that requires a gradient, by name, a tied tensor once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep implementations from work of their own, such as comparing themselves: what is timed is the call."""
    token = _UNDISTURBED.set(True)
    try:
        yield
    finally:
        _UNDISTURBED.reset(token)


def is_undisturbed() -> bool:
    """Whether a call is being timed, and so does nothing but what was asked for."""
    return _UNDISTURBED.get()


class Stateless:
    """A module as a function of its parameters and buffers, for as long as it has the same ones; also a shared layer's.

    Tensors have the names that `named_parameters()` and `named_buffers()` give them; what is not given stays the
    module's own. A given tensor goes to every place that holds the one it stands for. Told of a place twice, as it is
    where a layer has two names, `torch.func.functional_call` leaves the given tensor there for good (PyTorch issue
    164759); and it takes back what it lent before one can differentiate, while a forward may be run again for its
    derivatives (`torch.utils.checkpoint`), and hooks may read the module.

    Raises RuntimeError for a module that keeps its tensors elsewhere, as jitted ones do.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parameters: Params = {}
        self.buffers: Params = {}
        self.places: list[tuple[dict[str, Tensor | None], str, str]] = []
        """Every place of a tensor, once, as container and key; and the tensor's name, which is that of its first."""
        names: dict[int, str] = {}
        modules = [(path and f"{path}.", module) for path, module in model.named_modules()]
        for _, module in modules:
            if isinstance(module, nn.DataParallel | torch.jit.ScriptModule):
                raise RuntimeError(f"{type(module).__name__} is no function of the parameters that it shows")
        for kind, tensors in (("_parameters", self.parameters), ("_buffers", self.buffers)):
            for prefix, module in modules:
                container = getattr(module, kind)
                for key, tensor in container.items():
                    if tensor is not None:
                        name = names.setdefault(id(tensor), prefix + key)
                        self.places.append((container, key, name))
                        if name == prefix + key:
                            tensors[name] = tensor

    @contextmanager
    def holding(self, tensors: Params) -> Iterator[None]:
        """The module itself with `tensors` in the places of its own."""
        lent = [(places, key, places[key], tensors[name]) for places, key, name in self.places if name in tensors]
        try:
            for places, key, _, tensor in lent:
                places[key] = tensor
            yield
        finally:
            for places, key, own, _ in lent:
                places[key] = own

    def __call__(self, tensors: Params, x: Tensor) -> Tensor:
        """The output for x."""
        with self.holding(tensors):
            output: Tensor = self.model(x)
        return output


def take_grads(model: nn.Module, tasks: int = 1) -> Params:
    """Move what `backward` left in `.grad` out of the model, divided by `tasks`; every `.grad` is None afterwards.

    Setting None, rather than zeroing, also frees the graph that `backward(create_graph=True)` hangs on `.grad`.
    """
    grads = {}
    for name, p in trainable(model).items():
        grads[name] = torch.zeros_like(p) if p.grad is None else p.grad.detach() / tasks
        p.grad = None
    return grads
