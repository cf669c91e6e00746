"""Models that change between calls, or do what only some implementations can be right for, and who is right."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import baselines
from baselines.contract import Baseline, InnerLoop, MetaGradient, Spec, TaskBatch
from experiments.judging.double_backward import double_backward
from experiments.problems.tasks.stream import Arrays
from tests.baselines.gradients import distance
from tests.implementations import CLASSES, COMPILED, of_library

EAGER = sorted({*CLASSES} - COMPILED)
"""Those in torch; each computes in milliseconds."""
JAX = of_library("jax")
VMAPPED = {"vectorized", "fomaml-vectorized", "torchopt-vectorized", "pretraining"}
CLONING = of_library("learn2learn", "higher")
"""Whose copies of a module keep what it refers to."""
SECOND_ORDER_LIBRARIES = {"learn2learn", "higher", "torchopt"}
ANY = [name for name in EAGER if name != "notebook"]
"""Those that take modules of any kind."""
LR = 0.1

Make = Callable[[], nn.Module]
Truth = dict[str, Tensor]


def batch(seed: int = 0, dtype: torch.dtype = torch.float64) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((4, 2), (4, 1), (5, 2), (5, 1))
    return TaskBatch(*(torch.randn(3, *size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes))


def spec(model: nn.Module, steps: int = 2, loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Spec:
    loss = loss or nn.functional.mse_loss
    return Spec(model, loss, InnerLoop(LR, steps), torch.device("cpu"), torch.float64)


def steps_of(name: str, steps: int = 2) -> int:
    return min(steps, 1) if name == "notebook" else steps


def build(name: str, model: nn.Module, steps: int = 2) -> Baseline:
    return baselines.load(baselines.find(name))(spec(model, steps_of(name, steps)))


def call(implementation: Baseline, points: TaskBatch) -> MetaGradient:
    return implementation.to_torch(implementation.meta_gradient(implementation.prepare(points)))


def truth(name: str, model: nn.Module, points: TaskBatch, steps: int = 2) -> Truth:
    """What `name` says that it computes, by the reverse sweep on a copy of the module."""
    theta = {key: p.detach().numpy() for key, p in model.named_parameters() if p.requires_grad}
    computes = baselines.load(baselines.find(name)).computes
    arrays = Arrays(*(part.numpy() for part in points))
    grads = double_backward(computes, model, nn.functional.mse_loss, theta, arrays, LR, steps_of(name, steps))
    return {key: torch.from_numpy(np.asarray(g)) for key, g in grads.items()}


def state(model: nn.Module) -> dict[object, object]:
    """All that a call may not change: objects by identity, tensors by their bits, too."""
    seen: dict[object, object] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            items = list(value.items()) if isinstance(value, dict) else list(enumerate([value]))
            for part, item in items:
                bits = (
                    item.detach().numpy().tobytes()
                    if isinstance(item, Tensor) and key in ("_parameters", "_buffers")
                    else None
                )
                seen[path, key, part] = (id(item), bits)
    for key, p in model.named_parameters():
        seen["grad", key] = p.grad
    return seen


def reason(name: str, model: nn.Module, steps: int = 2) -> str:
    """Why it is unavailable; empty if it is not."""
    return baselines.load(baselines.find(name)).unavailable(spec(model, steps_of(name, steps))) or ""


def served(implementation: Baseline, points: TaskBatch) -> MetaGradient | str:
    """The result, or the one line of the RuntimeError with which it is refused; the model is as it was either way."""
    before, bits = state(implementation.spec.model), [part.clone() for part in points]
    try:
        result: MetaGradient | str = call(implementation, points)
    except RuntimeError as error:
        result = str(error)
    assert state(implementation.spec.model) == before
    assert all(torch.equal(a, b) for a, b in zip(points, bits, strict=True))
    return result


def right(name: str, result: MetaGradient | str, expected: Truth) -> bool:
    """Whether it was served, and exactly; a refusal is False, and anything near the truth an AssertionError."""
    if isinstance(result, str):
        assert result
        return False
    assert not any(g.requires_grad for g in result.grads.values())
    assert distance(result.grads, expected) < 1e-11, name
    return True


def sequential(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), activation(), nn.Linear(3, 1)).double()


class Net(nn.Module):
    """Two layers and what `forward` makes of them; `start` adds what it needs."""

    def __init__(
        self, forward: Callable[["Net", Tensor], Tensor], start: Callable[["Net"], object] = lambda net: None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.of = nn.Linear(2, 3), nn.Linear(3, 1), forward
        start(self)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.of(self, x)


def plain(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.tanh(net.a(x)))
