"""What an inner step keeps for its pull-back: whatever it is, the gradient is the same, and `execution` names it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import vjp

from baselines._compiler import meta_gradient, tracing
from baselines._compiler.meta_gradient import Sweep
from baselines._compiler.partition import is_cheap, split
from baselines.contract import TaskBatch
from tests.baselines.gradients import DOUBLE, build, distance, gradient, spec


def network() -> nn.Sequential:
    blocks: list[nn.Module] = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(36, 1))


def images(tasks: int) -> TaskBatch:
    generator = torch.Generator().manual_seed(0)
    shapes = 2 * [(tasks, 3, 1, 8, 8), (tasks, 3, 1)]
    return TaskBatch(*(torch.randn(*shape, generator=generator, dtype=DOUBLE) for shape in shapes))


@pytest.mark.parametrize(
    ("copies", "products", "kept"),
    [(math.inf, 0, "activations kept"), (0, 2**24, "products kept"), (0, 0, "activations computed again")],
)
def test_whatever_a_step_keeps_the_gradient_is_the_same(
    copies: float, products: int, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(Sweep):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            self.phi_bytes = copies  # type: ignore[assignment]

    monkeypatch.setattr("baselines._compiler.base.Sweep", Limited)
    monkeypatch.setattr(meta_gradient, "PRODUCT_BYTES", products)
    torch.manual_seed(0)
    model, batch = network(), images(2)
    compiled = build("compiled", model, steps=3)
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, steps=3), batch)) < 1e-12
    assert compiled.execution == f"one task after the other; graphs per step, {kept}"


def test_products_and_reductions_are_handed_over_and_what_is_elementwise_is_computed_again() -> None:
    def function(w: Tensor, x: Tensor) -> Tensor:
        y = torch.nn.functional.conv2d(x, w)
        return nn.functional.max_pool2d(torch.tanh(y - y.mean()), 2)

    def joint(inputs: tuple[Tensor, Tensor], cotangent: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, pull_back = vjp(function, *inputs)
        return output, pull_back(cotangent)

    inputs = torch.randn(2, 1, 3, 3, dtype=DOUBLE), torch.randn(5, 1, 8, 8, dtype=DOUBLE)
    cotangent = torch.randn(5, 2, 3, 3, dtype=DOUBLE)
    forward, pull_back, residual_bytes = split(tracing.trace(joint, inputs, cotangent), is_cheap)
    output, residuals = forward(inputs)
    shapes = {(tuple(r.shape), r.dtype) for r in residuals}
    assert shapes == {((5, 2, 6, 6), DOUBLE), ((), DOUBLE), ((5, 2, 3, 3), torch.int32)}
    assert residual_bytes == sum(r.numel() * r.element_size() for r in residuals)
    expected, pulled = joint(inputs, cotangent)
    pairs = zip([output, *pull_back(inputs, residuals, cotangent)], [expected, *pulled], strict=True)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in pairs)


def test_random_numbers_are_kept_and_never_drawn_again() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 1))
    sweep = Sweep(spec(model, 2), 2, second_order=True)
    sweep.phi_bytes = 0
    with torch.no_grad():
        sweep(*sweep.phases.start(dict(model.named_parameters()), {}), images(1))
    assert sweep.kept == "activations kept"


def test_first_order_asks_for_no_pull_back() -> None:
    class Once(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(super().forward(x), self.weight)  # has no second derivative

    model = Once(3, 3)
    batch = TaskBatch(*(torch.randn(2, 4, 3, dtype=DOUBLE) for _ in range(4)))
    fast = build("fomaml-compiled", model)
    assert distance(gradient(fast, batch), gradient(build("fomaml", model), batch)) < 1e-12
    assert fast.execution == "all tasks together; one graph"
