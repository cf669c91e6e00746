"""The verdict: right code is never accused, and every realistic mistake is caught."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from baselines._shared.functional import Functional, TaskMean, differentiate, leaves
from baselines.contract import MetaGradient, TaskBatch
from experiments.harness.status import Unavailable, Wrong
from experiments.judging import verify
from experiments.judging.verify import (
    Check,
    Oracle,
    Reference,
    Weights,
    cancellation,
    condition,
    error,
    load_or_compute,
    reference,
)
from experiments.problems.tasks.stream import Arrays
from tests.conftest import IMPLEMENTATIONS, bench
from tests.implementations import COMPILED


class Mistake(Functional):
    """Second-order MAML with one thing wrong, chosen by name."""

    computes = "maml"
    mistake = ""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        mean = TaskMean()
        with self.call(prepared) as batch:
            theta = leaves(self.theta)
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                if self.mistake == "support and query swapped":
                    support_x, support_y, query_x, query_y = query_x, query_y, support_x, support_y
                phi = theta
                steps = self.spec.inner.steps + {"one step too many": 1, "one step too few": -1}.get(self.mistake, 0)
                for k in range(steps):
                    if self.mistake == "the notebook's scheme extended naively" and k:
                        # a second step with the gradient with respect to the meta-parameters, as `.grad` would hold it
                        grads = differentiate(self.loss(phi, support_x, support_y), theta, create_graph=True)
                        phi = {name: p - self.spec.inner.lr * grads[name] for name, p in phi.items()}
                    else:
                        phi = self.step(phi, support_x, support_y, create_graph=self.mistake != "no create_graph")
                    if self.mistake == "detached at the first step" and not k:
                        phi = leaves(phi)
                loss = self.loss(phi, query_x, query_y)
                if self.mistake == "only the last task counts":
                    mean = TaskMean()
                mean.add(differentiate(loss, phi if self.mistake == "detached at the first step" else theta), loss)
        losses, result = mean.result()
        if self.mistake == "summed over tasks":
            result = {name: g * mean.tasks for name, g in result.items()}
        if self.mistake == "one parameter forgotten":
            result["out.bias"] = torch.zeros_like(result["out.bias"])
        if self.mistake == "off by a millionth":
            result = {name: g * (1 + 1e-6) for name, g in result.items()}
        return MetaGradient(losses, result)


MISTAKES = (
    "no create_graph",
    "support and query swapped",
    "one step too many",
    "one step too few",
    "the notebook's scheme extended naively",
    "detached at the first step",
    "only the last task counts",
    "summed over tasks",
    "one parameter forgotten",
    "off by a millionth",
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_caught(mistake: str) -> None:
    b = bench()
    b.__dict__["implementation"] = type("Mistaken", (Mistake,), {"mistake": mistake})
    with pytest.raises(Wrong, match=r"float64 error .* against the complex step oracle for maml") as caught:
        b.verify()
    assert caught.value.row["error_float64"] > 1e-7


def test_the_same_code_without_a_mistake_passes() -> None:
    b = bench()
    b.__dict__["implementation"] = Mistake
    assert b.verify()["error_float64"] < 1e-13


@pytest.mark.parametrize(
    ("name", "dtype"),
    # checking the object in float32 also builds and checks one in float64
    [(n, t) for n in IMPLEMENTATIONS for t in ("float64", "float32") if t == "float32" or n not in COMPILED],
)
def test_every_implementation_is_right(name: str, dtype: str) -> None:
    for activation in ("tanh",) if name in COMPILED else ("relu", "tanh"):
        model = {"hidden": 2, "width": 40, "activation": activation}
        b = bench(name, dtype, model=model, inner_steps=1, inner_lr=0.01, tasks=5)
        row = b.verify()
        assert row["error_float64"] < 1e-12
        assert row[f"error_{dtype}"] < (1e-12 if dtype == "float64" else 1e-3)
        b.verify()  # again, on other tasks


def test_only_the_first_check_of_the_first_process_is_in_float64_too() -> None:
    first, second = bench(dtype="float32"), bench(dtype="float32")
    second.repeat = 1
    as_measured = {"oracle", "error_float32"}
    assert first.verify().keys() == as_measured | {"error_float64"}
    assert first.verify().keys() == second.verify().keys() == as_measured
    alone = bench(dtype="float64")
    alone.repeat = 1
    assert "error_float64" in alone.verify()  # what is measured is always checked


def test_a_mistake_in_a_later_process_is_caught_in_the_dtype_that_is_measured() -> None:
    b = bench(dtype="float32")
    b.repeat = 1
    b.__dict__["implementation"] = type("Mistaken", (Mistake,), {"mistake": "no create_graph"})
    with pytest.raises(Wrong, match=r"^float32 error"):
        b.verify()


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(["unrolled", "fomaml", "reptile"]),
    dtype=st.sampled_from(["float64", "float32"]),
    hidden=st.integers(1, 3),
    width=st.integers(1, 12),
    activation=st.sampled_from(["relu", "tanh"]),
    inner_steps=st.integers(0, 4),
    inner_lr=st.sampled_from([0.0, 1e-3, 0.05]),
    shots=st.integers(1, 6),
    seed=st.integers(0, 2**20),
)
def test_right_code_is_never_accused(name, dtype, hidden, width, activation, seed, **params) -> None:  # type: ignore[no-untyped-def]
    model = {"hidden": hidden, "width": width, "activation": activation}
    try:
        bench(name, dtype, seed, model=model, **params).verify()
    except Unavailable:  # an ill-conditioned draw is no case; hypothesis fails if most are; an accusation is Wrong
        reject()


def test_error_is_relative_to_each_parameter() -> None:
    o = {"large": np.array([1e6, 0.0]), "small": np.array([1.0])}
    assert error(o, o) == 0
    assert error(o | {"small": np.array([1.01])}, o) == pytest.approx(0.01)
    assert error({"large": o["large"]}, o) == float("inf")
    assert error(o | {"small": np.array([np.nan])}, o) == float("inf")
    # a parameter whose meta-gradient is exactly zero is measured against the whole
    zero = {"large": np.array([1e6, 0.0]), "zero": np.array([0.0])}
    assert error(zero | {"zero": np.array([1e-10])}, zero) == pytest.approx(1e-16)
    # and a tiny one against a millionth of it
    tiny = {"large": np.array([1e6, 0.0]), "tiny": np.array([1e-3])}
    assert error(tiny | {"tiny": np.array([2e-3])}, tiny) == pytest.approx(1e-3)
    assert error({"a": np.zeros(2)}, {"a": np.zeros(2)}) == 0
    assert error({"a": np.ones(2)}, {"a": np.zeros(2)}) == float("inf")


def test_a_check_without_a_number_is_not_right() -> None:
    assert Check(1e-13, 1e-12, 1.0).right
    assert not Check(2e-12, 1e-12, 1.0).right
    assert not Check(float("nan"), 1e-12, 1.0).right


def test_condition_of_known_functions() -> None:
    batch = Arrays(*(np.ones((1, 1, 1)) for _ in range(4)))
    theta = {"a": np.array([1.0])}
    assert 15 < condition(lambda t, _: {"a": t["a"] ** 50}, theta, batch, 1e-12) < 50.1
    assert condition(lambda t, _: {"a": np.array([3.0])}, theta, batch, 1e-16) == 1


def test_rounding_before_a_difference_counts() -> None:
    theta, displacement = {"a": np.array([1.0])}, {"a": np.array([1e-4])}
    assert cancellation(theta, displacement) == pytest.approx(1e4)
    assert cancellation(theta, {"a": np.zeros(1)}) == 1
    batch = Arrays(*(np.ones((1, 1, 1)) for _ in range(4)))
    result = {"a": np.array([1e-4 * (1 + 1e-4)])}
    assert not reference(lambda *_: displacement, theta, batch, 1e-8).check(result).right
    assert reference(lambda *_: displacement, theta, batch, 1e-8, displacement=True).check(result).right


def test_a_reference_is_kept_for_just_these_inputs(tmp_path: Path) -> None:
    batch = Arrays(*(np.ones((1, 1, 1)) for _ in range(4)))
    theta = {"file": np.array([1.0]), "b": np.array([2.0, 3.0])}
    computed: list[str] = []

    def ask(key: str, theta: Weights) -> Reference:
        def compute() -> Reference:
            computed.append(key)
            return Reference({name: 2 * value for name, value in theta.items()}, 3.0, 1e-16)

        return load_or_compute(tmp_path / "new", key, theta, batch, compute)

    first, again = ask("maml", theta), ask("maml", theta)
    assert computed == ["maml"]
    assert (again.kappa, again.eps, list(again.ground_truth)) == (first.kappa, first.eps, list(first.ground_truth))
    assert all(np.array_equal(again.ground_truth[name], value) for name, value in first.ground_truth.items())
    ask("fomaml", theta)
    moved = ask("maml", theta | {"b": np.array([2.0, 3.0 + 1e-15])})
    assert computed == ["maml", "fomaml", "maml"]
    assert moved.ground_truth["b"][1] > first.ground_truth["b"][1]


def test_a_meta_batch_that_cannot_be_judged_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench()
    kappas, asked = [2e4, 3e4, 5.0], []

    def so_conditioned(oracle: Oracle, theta: Weights, points: Arrays, *about: Any) -> Reference:
        asked.append(points.support_x.sum())
        return replace(reference(oracle, theta, points, *about), kappa=kappas[len(asked) - 1])

    monkeypatch.setattr(verify, "reference", so_conditioned)
    judged = b.judge(b.setup)
    assert (judged.check.kappa, judged.check.right) == (5.0, True)
    assert judged.points.support_x.sum() == asked[2]
    assert len(set(asked)) == 3
    monkeypatch.setattr(verify, "reference", reference)
    at_once = bench()
    at_once.judge(at_once.setup)
    assert at_once.stream_digest == b.stream_digest
    monkeypatch.setattr(verify, "reference", so_conditioned)
    kappas[:], asked[:] = [2e4] * 8, []
    with pytest.raises(Unavailable, match=r"ill-conditioned \(κ = 2e\+04\), as were 7 other meta-batches"):
        b.judge(b.setup)


def test_a_kink_too_near_is_no_judgement() -> None:
    b = bench(model={"hidden": 1, "width": 4, "activation": "relu"})
    theta = {name: value * 0 for name, value in _weights(b).items()}
    with pytest.raises(Unavailable, match="from its kink"):
        b.oracle("maml", b.setup.spec.model)[1](theta, b.stream().batch(0))


def _weights(b) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    return {name: p.detach().numpy() for name, p in b.model(torch.float64).named_parameters()}


def test_lowering_the_precision_of_everyone_is_wrong() -> None:
    b = bench()

    class Sneaky(Mistake):
        def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
            torch.set_float32_matmul_precision("high")
            return super().meta_gradient(prepared)

    b.__dict__["implementation"] = Sneaky
    try:
        with pytest.raises(Wrong, match="precision of float32"):
            b.verify()
    finally:
        torch.set_float32_matmul_precision("highest")
