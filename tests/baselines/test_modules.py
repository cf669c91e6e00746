"""Modules that a fast implementation could get wrong without a word: each is right, or says that it does otherwise."""

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.baselines.gradients import DOUBLE, build, distance, gradient, points

WIDE = 30
Forward = Callable[[nn.Linear, nn.Linear, Tensor], Tensor]
OTHER_USES: dict[str, Forward] = {
    "a norm": lambda a, b, x: b(torch.tanh(a(x))) * b.weight.norm(),
    "transposed": lambda a, b, x: F.linear(torch.tanh(a(x)), b.weight.T) + b(x),
    "in a list": lambda a, b, x: b(torch.tanh(a(x))) + torch.stack([a.weight, b.weight]).mean(),
    "in a chain": lambda a, b, x: b(torch.tanh(a(x))) + torch.linalg.multi_dot([x, a.weight, b.weight]),
    "by the query alone": lambda a, b, x: b(torch.tanh(a(x))) if len(x) == 2 else torch.tanh(a(x)) @ b.weight,
    "twice": lambda a, b, x: b(torch.tanh(b(torch.tanh(a(x))))),
    "by name": lambda a, b, x: F.linear(torch.tanh(a(x)), weight=b.weight),
}


class Two(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.a, self.b, self.of = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.of(self.a, self.b, x)


@pytest.mark.parametrize("name", ["compiled", "fomaml-compiled"])
@pytest.mark.parametrize("use", OTHER_USES)
def test_a_weight_that_is_used_in_another_way_is_not_factored(use: str, name: str) -> None:
    torch.manual_seed(0)
    model, batch = Two(OTHER_USES[use]), points(2, 2, 3, WIDE)
    for steps in (1, 2):
        fast = build(name, model, steps)
        expected = gradient(build("unrolled" if name == "compiled" else "fomaml", model, steps), batch)
        assert distance(gradient(fast, batch), expected) < 1e-12
        assert "disagreed" not in fast.execution and "b.weight" not in fast.execution


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W, self.A, self.B = (nn.Parameter(torch.randn(*shape)) for shape in ((3, 3), (1, 3), (3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.add(self.W, self.B @ self.A, alpha=0.5)) + F.linear(x, self.W + 1.0)


class Attributes(nn.Module):
    """Reads and sets what it likes of itself."""

    scale: float = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout, self.activation = nn.Linear(3, 3), nn.Dropout(0.0), nn.Tanh()
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.cache is None or len(self.cache) != len(x):
            self.cache = torch.arange(len(x), dtype=x.dtype)[:, None].cos()
        return self.layer(self.activation(self.dropout(x))) * self.scale + self.cache


def freeze(model: Attributes) -> None:
    model.layer.weight.requires_grad_(False)


def scale(model: Attributes) -> None:
    model.scale = 2.0


def drop(model: Attributes) -> None:
    model.dropout.p = 1.0


def replace(model: Attributes) -> None:
    model.activation = nn.ReLU()  # type: ignore[assignment]


def restride(model: Attributes) -> None:
    model.layer.weight.data = model.layer.weight.data.T.contiguous().T


OURS = ["compiled", "vectorized", "adjoint", "fomaml-compiled"]


@pytest.mark.parametrize("change", [freeze, scale, drop, replace, restride])
@pytest.mark.parametrize("name", OURS)
def test_a_change_of_the_module_between_calls_is_seen(name: str, change: Callable[[Attributes], None]) -> None:
    torch.manual_seed(0)
    model, batch = Attributes().double(), points(2, 4, 4)
    ours = build(name, model)
    for _ in range(2):
        gradient(ours, batch)
    change(model)
    expected = gradient(build("fomaml" if "fomaml" in name else "unrolled", model), batch)
    assert gradient(ours, batch).keys() == expected.keys()
    assert distance(gradient(ours, batch), expected) < 1e-12


@pytest.mark.parametrize("name", OURS)
def test_the_model_keeps_no_tensor_of_ours(name: str) -> None:
    model = Attributes().double()
    gradient(build(name, model), points(2, 4, 4))
    assert type(model(torch.ones(4, 3, dtype=DOUBLE)).sum().item()) is float
    copy.deepcopy(model)


@pytest.mark.slow
@pytest.mark.machine_code
def test_compiled_serves_low_rank_sums_other_strides_and_dtypes_anew() -> None:
    torch.manual_seed(0)
    model, batch = LowRank(), points(2, 4, 4)
    compiled, plain = build("compiled", model, 1), build("unrolled", model, 1)
    for t in (batch, batch._replace(support_x=batch.support_x.mT.contiguous().mT)):
        assert distance(gradient(compiled, t), gradient(plain, t)) < 1e-13
        assert "failed" not in compiled.execution
    assert distance(gradient(compiled, batch._replace(query_y=batch.query_y.float())), gradient(plain, batch)) < 1e-6


class StraightThrough(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return torch.tanh(h + (h.round() - h).data)


def test_what_torch_func_cuts_off_for_one_derivative_only_is_refused_or_served_otherwise() -> None:
    torch.manual_seed(0)
    model, batch = StraightThrough(3, 3), points(2, 4, 4)
    with pytest.raises(RuntimeError, match=r"reads \.data"):
        gradient(build("vectorized", model), batch)
    compiled = build("compiled", model)
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model), batch)) < 1e-12
    assert compiled.execution.startswith("not compiled, as adjoint") and "reads .data" in compiled.execution


class Drawing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(super().forward(x) * (1 + np.random.rand())) * (1 + random.random())


@pytest.mark.parametrize("name", ["adjoint", "adjoint-checkpointed", "compiled"])
def test_random_numbers_of_other_generators_are_drawn_again_too(name: str) -> None:
    torch.manual_seed(0)
    model, batch, found = Drawing(3, 3), points(2, 4, 4), []
    ours, plain = build(name, model, 4), build("unrolled", model, 4)
    gradient(ours, batch)
    for implementation in (ours, plain):
        random.seed(1)
        np.random.seed(1)
        found.append(gradient(implementation, batch))
    assert distance(*found) < 1e-12
