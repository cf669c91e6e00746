"""What an entry of the zoo is: a network and a loss, and what changes between two calls."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.contract import Loss, TaskBatch

DOUBLE = torch.float64
Build = Callable[[], nn.Module]
Alter = Callable[[Any, Any], AbstractContextManager[Any]]
"""(model, loss) -> a context: entering it makes the change, leaving it takes the change back."""


def points(seed: int = 0, dtype: torch.dtype = DOUBLE, tasks: int = 2, count: int = 3) -> TaskBatch:
    """A meta-batch of vectors; one more query point than support points."""
    return shaped((3,), seed, dtype, tasks, count)


def images(seed: int = 0, dtype: torch.dtype = DOUBLE) -> TaskBatch:
    """A meta-batch of images of 4 × 4."""
    return shaped((1, 4, 4), seed, dtype)


def shaped(
    shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = DOUBLE, tasks: int = 2, count: int = 3, out: int = 3
) -> TaskBatch:
    """A meta-batch of inputs of `shape` and targets of (out,)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((count, *shape), (count, out), (count + 1, *shape), (count + 1, out))
    return TaskBatch(*(torch.randn(tasks, *size, generator=generator, dtype=DOUBLE).to(dtype) for size in sizes))


@dataclass(frozen=True)
class Change:
    """One way in which what a forward or a loss computes differs between two calls.

    silent: the meta-gradient does not change, and has to stay right.
    tolerance: the relative error that is allowed.
    around: what all calls are made within.
    telling: in the default suite, for the compiled implementations too.
    """

    name: str
    build: Build
    alter: Alter
    loss: Callable[[], Loss] = lambda: F.mse_loss
    batch: Callable[[int, torch.dtype], TaskBatch] = points
    dtype: torch.dtype = DOUBLE
    tolerance: float = 1e-9
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    silent: bool = False
    telling: bool = False


@dataclass(frozen=True)
class Draw:
    """A network, or a loss, that multiplies by one of `values`, which `coin` chooses anew at each forward.

    coin: builds a module that multiplies one number, (1, 1).
    in_loss: it multiplies the prediction in the loss, else hidden activations.
    remembered: what comes next is a plain attribute of a module, so that an implementation which takes back what a
        forward sets may get the same at each call.
    """

    name: str
    coin: Build
    values: tuple[float, ...] = (0.5, 2.0)
    in_loss: bool = False
    remembered: bool = False


@dataclass(frozen=True)
class Module:
    """A network as it is built, never changed.

    plain: the same function, with the same parameters, where `build`'s cannot be differentiated step by step.
    """

    name: str
    build: Build
    batch: Callable[[int, torch.dtype], TaskBatch] = points
    loss: Callable[[Any], Loss] = lambda model: F.mse_loss
    plain: Build | None = None
    tolerance: float = 1e-9


class Net(nn.Module):
    """Two linear layers; what lies between them is multiplied by `factor()`."""

    if TYPE_CHECKING:  # subclasses read what attributes they like

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4, dtype=DOUBLE), nn.Linear(4, 3, dtype=DOUBLE)

    def factor(self) -> Any:
        """A number, or a tensor that fits (points, 4)."""
        return 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(points, 3) to (points, 3)."""
        return self.b(torch.tanh(self.a(x)) * self.factor())  # type: ignore[no-any-return]


def net(factor: Callable[[Any], Any], /, shared: dict[str, Any] | None = None, **attributes: Any) -> Callable[[], Net]:
    """Build a Net whose class has the method `factor` and the attributes `shared`, with `attributes` of its own."""

    def build() -> Net:
        model: Net = type("Scaled", (Net,), {"factor": factor, **copy.deepcopy(shared or {})})()
        for name, value in copy.deepcopy(attributes).items():
            setattr(model, name, value)
        return model

    return build


def sequential(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Sequential]:
    """Build an nn.Sequential of layers in float64."""
    return lambda: nn.Sequential(*(layer() for layer in layers)).to(DOUBLE)


def mlp() -> Any:
    """Two linear layers and tanh, which every implementation serves."""
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE)


@contextmanager
def done(do: Callable[[], object], undo: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Within it, `do` is done; then, `undo`."""
    do()
    try:
        yield
    finally:
        undo()


def item(container: Any, key: Any, value: Any) -> AbstractContextManager[None]:
    """Within it, `container[key]` is `value`."""
    before = container[key]
    return done(lambda: container.__setitem__(key, value), lambda: container.__setitem__(key, before))


def attribute(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    """Within it, `owner.name` is `value`; for what mock.patch cannot delete, such as `__class__`."""
    before = getattr(owner, name)
    return done(lambda: setattr(owner, name, value), lambda: setattr(owner, name, before))


def filled(tensor: Tensor, value: Any) -> AbstractContextManager[None]:
    """Within it, `tensor` holds `value`, written in place."""
    before = tensor.detach().clone()

    def write(value: Any) -> None:
        with torch.no_grad():
            tensor.copy_(torch.as_tensor(value, dtype=tensor.dtype))

    return done(lambda: write(value), lambda: write(before))
