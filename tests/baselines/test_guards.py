"""When compiled code is kept, made anew or given up: guards, comparisons with the fallback, what changes nothing."""

import random
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from baselines._compiler import base
from baselines._compiler.base import CompiledSweep
from baselines._compiler.guards.execution import Execution
from baselines._compiler.guards.guards import Guards
from baselines.contract import MetaGradient, TaskBatch, undisturbed
from tests.baselines.gradients import DOUBLE, build, distance, gradient, points
from tests.baselines.guarded import SCALES, Model, built, scale

COUNTS = [0]


@pytest.fixture
def firsts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What made code: how each call ran for which there was none."""
    made: list[str] = []
    first = CompiledSweep._first

    def counted(self: CompiledSweep, batch: TaskBatch) -> MetaGradient:
        result = first(self, batch)
        made.append(self.execution)
        return result

    monkeypatch.setattr(CompiledSweep, "_first", counted)
    return made


def test_what_nothing_reads_may_change_with_every_call(firsts: list[str]) -> None:
    model, batch = Model(), points(2, 4, 4)
    compiled = built(model)
    for epoch in range(5):
        model.epoch = epoch
        model.history.append(epoch)
        model.note = f"epoch {epoch}"  # type: ignore[assignment]
        model.settings.name = epoch
        Model.calls = epoch  # type: ignore[attr-defined]
        SCALES["two"] = 2.0
        del SCALES["two"]
        gradient(compiled, batch)
    assert firsts == ["all tasks together; one graph"]
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13


def test_a_change_is_named_and_compiled_when_it_is_met_again_and_its_opposite_is_known(firsts: list[str]) -> None:
    model, batch = Model(), points(2, 4, 4)
    compiled = built(model)
    gradient(compiled, batch)
    for value in (3.0, 3.0, 1.0, 3.0, 1.0):
        model.settings.steps[1] = value
        assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13
    model.settings.steps[1] = 2.0
    gradient(compiled, batch)
    assert firsts[1].endswith(": Model.settings.steps[1] has changed since the last call")
    assert firsts[2] == "all tasks together; one graph" and len(compiled.codes) == 3


def test_what_changes_with_every_call_is_never_compiled_for_one_call() -> None:
    model, batch = Model(), points(2, 4, 4)
    compiled = built(model)
    gradient(compiled, batch)
    for _ in range(3):
        model.settings.scale *= 0.9
        assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13
        assert compiled.execution.startswith("not compiled") and "Model.settings.scale" in compiled.execution
    assert len(compiled.codes) == 1


def test_one_that_changes_itself_runs_as_its_fallback() -> None:
    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            COUNTS[0] += 1
            return super().forward(x) * (1 + COUNTS[0] // 1000)

    compiled, batch = built(Counting(3, 3)), points(2, 4, 4)
    for _ in range(3):
        gradient(compiled, batch)
        assert compiled.execution == "not compiled, as adjoint: each call changes tests.baselines.test_guards.COUNTS[0]"
    assert len(compiled.codes) == 1 and compiled.codes[0].guards is None


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no guard see anything, as if what changes could not be seen."""
    monkeypatch.setattr(Guards, "hold_quickly", lambda self: True)
    monkeypatch.setattr(Guards, "hold", lambda self: True)


def test_a_later_comparison_gives_up_what_answers_for_how_the_network_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = Model(), points(2, 4, 4)
    compiled, plain = built(model), build("unrolled", model, 1)
    gradient(compiled, batch)
    blind(monkeypatch)
    model.settings.scale = 2.0
    assert distance(gradient(compiled, batch), gradient(plain, batch)) > 0.1
    compiled.spent_s = 1e3 * compiled.codes[0].fallback_s
    with undisturbed():
        assert distance(gradient(compiled, batch), gradient(plain, batch)) > 0.1
    with pytest.warns(RuntimeWarning, match="earlier results may have been wrong"):
        assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13
    assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13
    assert compiled.execution.startswith("not compiled, as adjoint: a later result disagreed by")


def test_comparisons_take_their_share_of_the_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr(base, "perf_counter", lambda: seconds[0])
    compiled, batch = built(Model()), points(2, 4, 4)
    gradient(compiled, batch)
    code = compiled.codes[0]
    assert code.run is not None
    run, plain = code.run, compiled._by_fallback
    spent = {"code": 0.0, "comparisons": 0.0}

    def slow(which: str, by: float, call: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object) -> object:
            seconds[0] += by
            spent[which] += by
            return call(*arguments)

        return timed

    code.run = slow("code", 0.001, run)  # type: ignore[assignment]
    monkeypatch.setattr(compiled, "_by_fallback", slow("comparisons", 0.1, plain))
    code.fallback_s = 0.1
    for _ in range(25_000):
        compiled.meta_gradient(batch)
        assert spent["comparisons"] <= base.SHARE * spent["code"]
    assert spent["comparisons"] > 0.15 * base.SHARE * spent["code"]


def test_a_batch_of_nan_costs_nothing_but_a_comparison(firsts: list[str]) -> None:
    batch, model = points(2, 4, 4), Model()
    compiled = built(model)
    empty = batch._replace(support_x=batch.support_x * torch.nan)
    assert gradient(compiled, empty)["layer.weight"].isnan().all()
    assert not compiled.codes[0].compared
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13
    assert compiled.codes[0].compared and compiled.execution == "all tasks together; one graph" and len(firsts) == 1


def test_a_frozen_parameter_costs_nothing() -> None:
    model, batch = Model(), points(2, 4, 4)
    model.layer.weight.requires_grad_(False)
    compiled = built(model)
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13
    assert compiled.execution == "all tasks together; one graph"


@pytest.mark.slow
def test_shapes_in_turn_keep_their_code_and_those_used_least_recently_go(
    firsts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base.LIMIT, "cpu", 3)
    compiled = built(nn.Linear(3, 3))
    for support in (1, 2, 3, 1, 2, 3, 1, 4, 1, 3):  # 4 takes the place of 2
        gradient(compiled, points(2, support, 1))
    assert len(firsts) == 4
    gradient(compiled, points(2, 2, 1))
    assert len(firsts) == 5 and len(compiled.codes) == 3
    assert base.LIMIT["cpu"] == 3 and base.LIMIT["cuda"] >= 16


def test_tensors_that_are_neither_parameters_nor_buffers_are_constants_as_long_as_they_stay() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 3)
            self.factors = [torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)]

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(super().forward(x)) * self.factors[0]

    model, batch = Scaled(), points(2, 4, 4)
    compiled, plain = built(model), build("unrolled", model, 1)
    gradient(compiled, batch)
    for _ in range(2):  # met once, then compiled
        model.factors[0].data.numpy()[0] = 5.0
        assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13
    assert compiled.execution == "all tasks together; one graph" and len(compiled.codes) == 2


def test_a_parameter_that_is_read_from_elsewhere_is_no_constant() -> None:
    class Elsewhere(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.list[0].detach().sum()

    model, batch = Elsewhere(3, 3), points(2, 4, 4)
    model.list = [model.weight]  # type: ignore[assignment]
    compiled = built(model)
    gradient(compiled, batch)
    assert "reads Elsewhere.list[0], a parameter or buffer outside of its module" in compiled.execution
    with torch.no_grad():
        model.weight.mul_(2.0)
    assert distance(gradient(compiled, batch), gradient(build("unrolled", model, 1), batch)) < 1e-13


def test_dtypes_of_their_own_are_kept() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.w = nn.Linear(3, 3).double(), nn.Parameter(torch.full((1,), 1.25))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layer(x)) * (1 + self.w.to(x.dtype))

    class Kept(Mixed):
        def to(self, *arguments: object, **names: object) -> "Kept":
            return self

    model, batch = Kept(), points(2, 4, 4)
    for steps in (1, 2):
        compiled = built(model, steps=steps)
        result = gradient(compiled, batch)
        expected = gradient(build("unrolled", model, steps), batch)
        assert {n: g.dtype for n, g in result.items()} == {n: g.dtype for n, g in expected.items()}
        assert distance(result, expected) < 1e-7 and "disagreed" not in compiled.execution


def test_under_autocast_it_runs_as_its_fallback_and_is_compiled_again_afterwards() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    compiled, batch = build("compiled", model, 1, torch.float32), points(2, 4, 4, dtype=torch.float32)
    plain = build("adjoint", model, 1, torch.float32)
    gradient(compiled, batch)
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=dtype):
            result, expected = gradient(compiled, batch), gradient(plain, batch)
        assert all(torch.equal(result[name], g) for name, g in expected.items())
        assert "runs under autocast" in compiled.execution
    gradient(compiled, batch)
    assert compiled.execution == "all tasks together; one graph"


def test_random_numbers_of_python_are_drawn_in_every_call() -> None:
    class Depth(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if random.random() < 0.5 else x * self.bias

    compiled, batch = built(Depth(3, 3)), points(2, 4, 4)
    random.seed(0)
    assert len({float(gradient(compiled, batch)["weight"].sum()) for _ in range(20)}) > 3
    assert compiled.execution == "not compiled, as adjoint: the model or the loss calls random.random"


def test_a_profiler_that_runs_is_back_after_the_execution_was_recorded() -> None:

    def profiler(*event: object) -> None: ...

    sys.setprofile(profiler)
    try:
        with Execution() as execution:
            scale()
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert scale.__code__ in execution.codes and "SCALES" in execution.names


def test_what_cannot_be_seen_has_its_reason() -> None:
    stream = iter(range(10**9))

    class Iterating(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 + next(stream) % 7)

    compiled, batch = built(Iterating(3, 3), steps=0), points(2, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            gradient(compiled, batch)
    assert "range_iterator, whose state cannot be seen" in compiled.execution
