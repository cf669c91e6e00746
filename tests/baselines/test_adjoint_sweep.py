"""The adjoint sweep, and what makes it fast when compiled: the same function, for any module and any shape."""

import shutil
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vjp

import baselines
from baselines._compiler import meta_gradient, tracing
from baselines._compiler.low_rank import Factors, LowRankLinear, smaller_as_factors
from baselines._compiler.network import examine
from baselines._compiler.partition import is_any, is_view, split
from experiments.harness.measure.arithmetic import arithmetic_ms, layers
from experiments.harness.measure.memory import _tensor_peak
from experiments.harness.records import Parameters
from tests.baselines.gradients import DOUBLE, build, distance, gradient, points, spec
from tests.baselines.models import mlp


@pytest.mark.slow
@pytest.mark.machine_code
def test_other_shapes_and_modes_are_compiled_anew_and_never_answered_from_a_stale_graph() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.0), nn.Linear(4, 3))
    compiled, plain = build("compiled", model, steps=1), build("unrolled", model, steps=1)
    batches = [points(2, 4, 4), points(3, 4, 4), points(2, 4, 5), points(2, 4, 4, seed=1)]
    for batch in [*batches, *batches]:
        assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13
    assert len(compiled.codes) == 3  # type: ignore[attr-defined]
    for mode, codes in ((False, 3), (False, 4), (True, 4)):  # a change is met once by the fallback, then compiled
        model.train(mode)
        assert distance(gradient(compiled, batches[0]), gradient(plain, batches[0])) < 1e-13
        assert len(compiled.codes) == codes  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.machine_code
@pytest.mark.parametrize(("most", "graphs"), [(10, "one graph"), (2, "graphs per step, activations kept")])
def test_factored_weights_are_exact_and_only_where_factors_are_smaller(
    most: int, graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_gradient, "ONE_GRAPH_STEPS", most)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))
    compiled, batch = build("compiled", model, 3), points(2, 2, 3)
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 3), batch)) < 1e-13
    assert compiled.execution == f"all tasks together; {graphs}; 2.weight factored"
    used = examine(model, batch.support_x[0], batch.query_x[0]).linear_points
    assert used == {"0.weight": 2, "2.weight": 2, "4.weight": 2}
    for steps in (1, 4, 5, 7):
        chosen = list(smaller_as_factors(dict(model.named_parameters()), used, steps))
        weights = {"0.weight": (20, 3), "2.weight": (20, 20), "4.weight": (3, 20)}
        assert chosen == [name for name, shape in weights.items() if steps * 2 * sum(shape) < shape[0] * shape[1]]


def test_a_forward_tells_what_it_consists_of_and_which_weights_are_used_once_and_linearly() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once, self.twice, self.branching = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.elsewhere = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.twice(self.twice(self.once(x)))
            return x @ self.elsewhere.weight.T + (self.branching(x) if len(x) == 2 else 0)

    network = examine(Network(), torch.zeros(2, 3), torch.zeros(4, 3))
    assert network.linear_points == {"once.weight": 2} and network.vectorizes
    convolving = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 1, 3), nn.Flatten(), nn.Linear(1, 1))
    assert not examine(convolving, torch.zeros(2, 3), torch.zeros(4, 3)).vectorizes


def test_factored_linear_is_the_linear_layer_of_the_adapted_weight() -> None:
    x, weight, H, D = torch.randn(4, 3), torch.randn(5, 3), torch.randn(6, 3), torch.randn(6, 5)
    with LowRankLinear({"w": weight}, {"w": Factors(H, D)}, {}, torch.tensor(0.1)) as layers:
        found = F.linear(x, weight)
    assert torch.allclose(found, F.linear(x, weight - 0.1 * D.T @ H), atol=1e-5)
    assert torch.equal(layers.h["w"], x)


def test_a_function_and_its_pull_back_split_hand_over_what_is_needed() -> None:
    def function(inputs: dict[str, Tensor]) -> Tensor:
        return torch.tanh(inputs["x"] @ inputs["w"].T) @ inputs["w"]

    def joint(inputs: dict[str, Tensor], cotangent: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        output, pull_back = vjp(function, inputs)
        (pulled,) = pull_back(cotangent)
        return output, pulled

    inputs = {"w": torch.randn(4, 3, dtype=DOUBLE), "x": torch.randn(5, 3, dtype=DOUBLE)}
    cotangent = torch.randn(5, 3, dtype=DOUBLE)
    traced = tracing.trace(joint, inputs, cotangent)
    output, pulled = joint(inputs, cotangent)
    for recompute in (is_view, is_any):
        forward, pull_back, residual_bytes = split(traced, recompute)
        again, residuals = forward(inputs)
        assert residual_bytes == sum(r.numel() * r.element_size() for r in residuals)
        assert bool(residuals) == (recompute is is_view)
        assert torch.allclose(again, output, rtol=1e-13)
        pulled_again = pull_back(inputs, residuals, cotangent)
        assert pulled_again.keys() == pulled.keys()
        assert all(torch.allclose(pulled_again[name], pulled[name], rtol=1e-13) for name in pulled)


def test_rewriting_keeps_the_function_and_leaves_no_transposed_product() -> None:
    def function(a: Tensor, b: Tensor, c: Tensor, v: Tensor) -> list[Tensor]:
        whole = (torch.bmm(a, b).mT + torch.bmm(c.mT, a.mT)).mT
        return [whole.contiguous(), a[0] @ v, v.T @ b[0], v @ v.T, whole.expand(2, 3, 5)]

    a, b, c, v = torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(2, 4, 5), torch.randn(4, 1)
    graph = tracing.trace(function, a, b, c, v)
    for found, expected in zip(graph(a, b, c, v), function(a, b, c, v), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
    products = [node for node in graph.graph.graph.nodes if "mm" in str(node.target)]
    assert len(products) == 2
    assert not any("transpose" in str(user.target) for node in products for user in node.users)
    assert not any("expand" in str(node.target) for node in graph.graph.graph.nodes)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(8), nn.LayerNorm(8), nn.GroupNorm(2, 8)])
@pytest.mark.parametrize("name", ["compiled", "vectorized", "torchopt-vectorized"])
def test_normalisations_whose_derivatives_vmap_gets_wrong_are_right(name: str, norm: nn.Module) -> None:
    torch.manual_seed(0)
    model, batch = nn.Sequential(nn.Linear(3, 8), norm, nn.Tanh(), nn.Linear(8, 3)), points(3, 4, 4)
    for steps in (1, 2):
        expected = gradient(build("unrolled", model, steps), batch)
        assert distance(gradient(build(name, model, steps), batch), expected) < 1e-12


def test_a_fallback_is_announced_and_right() -> None:
    class Branching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > -1e9 else -x)

    model, batch = Branching(3, 3), points(2, 4, 4)
    compiled, plain = build("compiled", model), build("unrolled", model)
    for _ in range(2):
        assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13
        assert compiled.execution.startswith("not compiled, as adjoint; one task after the other failed (GuardOnData")


def test_without_a_compiler_or_with_an_old_torch_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = baselines.load(baselines.find("compiled")).unavailable
    assert reason(spec(mlp(), 1)) is None
    monkeypatch.setattr(torch, "__version__", "2.0.1")
    assert reason(spec(mlp(), 1)) == "compiling needs torch 2.4 or newer, this is 2.0.1"
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "C++ compiler" in str(reason(spec(mlp(), 1)))


@pytest.mark.parametrize("name", ["adjoint", "adjoint-checkpointed"])
def test_derivatives_are_of_the_function_whose_random_numbers_were_drawn(name: str) -> None:
    torch.manual_seed(0)
    model, batch = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)), points(2, 4, 4)
    found = []
    for implementation in (build(name, model, 5), build("unrolled", model, 5)):
        torch.manual_seed(1)
        found.append(gradient(implementation, batch))
        assert torch.rand(1) != 0  # the generator goes on
    assert distance(*found) < 1e-13


def peak(name: str, steps: int) -> int:
    model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    baseline, batch = build(name, model, steps, torch.float32), points(1, 100, 100, 1, torch.float32)
    prepared = baseline.prepare(batch)
    baseline.meta_gradient(prepared)
    return _tensor_peak(partial(baseline.meta_gradient, prepared), torch.device("cpu"))


def test_memory_of_the_adjoint_sweep_grows_by_the_iterates_and_with_checkpoints_like_their_root() -> None:
    iterate = 4 * (80 + 1640 + 41)
    start, end = peak("adjoint", 1), peak("adjoint", 50)
    assert 0.95 < (end - start) / (49 * iterate) < 1.1
    checkpointed = peak("adjoint-checkpointed", 50) - peak("adjoint-checkpointed", 1)
    assert checkpointed < 16 * iterate  # √50 that are kept, and as many between two of them
    assert peak("unrolled", 50) - peak("unrolled", 1) > 3 * (end - start)


def test_the_arithmetic_counts_the_products_of_the_adjoint_sweep() -> None:
    sizes = layers(Parameters(hidden=2, width=40), 1)
    assert sizes == [(1, 40), (40, 40), (40, 1)]
    calls: list[int] = []

    def clock(call: Callable[[], object]) -> float:
        call()
        calls.append(1)
        return 1.0

    like = torch.zeros(1)
    found = arithmetic_ms(sizes, 2, 5, (3, 3), like, clock)
    assert found == pytest.approx((5 * 9 + 3) + 5 * 5 / 3)  # one counted layer; five copies for each step
    assert len(calls) == 7
    first = arithmetic_ms([(40, 40)], 2, 1, (3, 3), like, clock)
    assert first == pytest.approx(1 * 4 + 2 + 5 / 3)
