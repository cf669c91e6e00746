"""No implementation answers for how the network was: after any change it is as a new one, or refuses in one line."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from baselines.contract import TaskBatch
from tests.baselines.changing import (
    EAGER,
    JAX,
    Make,
    Net,
    batch,
    build,
    call,
    plain,
    reason,
    right,
    sequential,
    served,
    truth,
)
from tests.baselines.gradients import distance

pytestmark = pytest.mark.slow


class Square(nn.Module):
    """Two weights of one shape, which may be one."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Linear(2, n, bias=n == 1) for n in (2, 2, 1))
        if tied:
            self.b.weight = self.a.weight
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def tie(model: Square) -> None:
    model.b.weight = model.a.weight


def untie(model: Square) -> None:
    model.b.weight = nn.Parameter(1.5 * model.a.weight.detach())


def append(model: nn.Sequential) -> None:
    model.append(nn.Linear(1, 1))


def remove(model: nn.Sequential) -> None:
    del model[1]


def replace_linear(model: nn.Sequential) -> None:
    model[0] = nn.Linear(2, 3)


def replace_activation(model: nn.Sequential) -> None:
    model[1] = nn.ReLU()


def parametrize(model: nn.Sequential) -> None:
    model[0] = nn.Linear(2, 2)
    model[2] = nn.Linear(2, 1)
    parametrizations.orthogonal(model[0], orthogonal_map="cayley")


def freeze(model: nn.Sequential) -> None:
    model[0].weight.requires_grad_(False)


def drop_bias(model: nn.Sequential) -> None:
    model[0].bias = None


def make_constant(model: nn.Sequential) -> None:
    weight = model[0].weight.detach()
    del model[0].weight
    model[0].weight = weight


def add_parameter(model: Net) -> None:
    model.register_parameter("scale", nn.Parameter(torch.tensor(1.5)))


def add_buffer(model: Net) -> None:
    model.register_buffer("scale", torch.tensor(1.5))


def scaled(net: Net, x: Tensor) -> Tensor:
    return plain(net, x) * (net.scale if hasattr(net, "scale") else 1)


CUSTOM = {"notebook", *JAX}
CHANGES: dict[str, tuple[Make, Callable[..., None], set[str]]] = {
    "tied": (Square, tie, {"torchopt", *CUSTOM}),
    "untied": (partial(Square, tied=True), untie, CUSTOM),
    "appended": (sequential, append, set()),
    "removed": (sequential, remove, set()),
    "a linear layer replaced": (sequential, replace_linear, set()),
    "an activation replaced": (sequential, replace_activation, set()),
    "parametrized": (sequential, parametrize, CUSTOM),
    "frozen": (sequential, freeze, {"torchopt", "notebook"}),
    "without a bias": (sequential, drop_bias, set()),
    "a weight made a constant": (sequential, make_constant, CUSTOM),
    "a parameter added": (partial(Net, scaled), add_parameter, CUSTOM),
    "a buffer added": (partial(Net, scaled), add_buffer, CUSTOM),
}


def of(names: list[str]) -> list[object]:
    """Every change with every implementation; JAX's compile, which takes them long."""
    return [
        pytest.param(change, name, marks=[pytest.mark.slow] if name in JAX else [])
        for change in CHANGES
        for name in names
    ]


@pytest.mark.parametrize(("change", "name"), of([*EAGER, "jax"]))
def test_a_change_between_calls_is_seen_or_refused(change: str, name: str) -> None:
    make, alter, refused = CHANGES[change]
    model = make().double()
    if not reason(name, model):
        built = build(name, model)
        assert right(name, served(built, batch()), truth(name, model, batch()))
        torch.manual_seed(1)
        alter(model)
        model.double()
        result = served(built, batch(1))
    else:
        alter(model)
        result = served(build(name, model), batch(1)) if not reason(name, model) else "unavailable"
    assert right(name, result, truth(name, model, batch(1))) == (name not in refused)


@pytest.mark.parametrize("name", ["unrolled", "vectorized", "higher", pytest.param("jax", marks=pytest.mark.slow)])
def test_another_dtype_of_the_model_is_seen(name: str) -> None:
    model = sequential()
    built = build(name, model)
    call(built, batch())
    expected = call(build("unrolled", model), batch(1)).grads
    model.float()
    found = call(built, batch(1, torch.float32)).grads
    assert {g.dtype for g in found.values()} == {torch.float32}
    assert distance({n: g.double() for n, g in found.items()}, expected) < 1e-5


def dilate(model: nn.Sequential) -> None:
    model[0].dilation = model[0].padding = (2, 2)


def soften(model: nn.Sequential) -> None:
    model[1].eps = 0.5


def hook(model: nn.Sequential) -> None:
    model[2].register_forward_hook(lambda module, x, y: 2 * y)


def own_forward(model: nn.Sequential) -> None:
    model[2].forward = torch.sin  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize("alter", [dilate, soften, hook, own_forward])
@pytest.mark.parametrize("name", sorted(JAX))
def test_what_jax_translates_is_translated_anew(name: str, alter: Callable[..., None]) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), norm, nn.Tanh(), nn.Flatten(), nn.Linear(32, 1)).double()
    x, y = torch.randn(2, 3, 4, 1, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 1, dtype=torch.float64)
    points = TaskBatch(x[0], y[0], x[1], y[1])
    built = build(name, model, 1)
    before = call(built, points)
    alter(model)
    result = served(built, points)
    assert right(name, result, truth(name, model, points, 1)) == (alter in (dilate, soften))
    assert isinstance(result, str) or distance(result.grads, before.grads) > 1e-3


@pytest.mark.slow
def test_the_same_network_is_not_compiled_again() -> None:
    model = sequential()
    built = build("jax", model, 1)
    for activation in (nn.Tanh(), nn.ReLU(), nn.Tanh()):
        model[1] = activation
        call(built, batch())
    assert len(built.compiled) == 2  # type: ignore[attr-defined]
