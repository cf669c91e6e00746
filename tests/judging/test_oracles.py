"""The judges judged: closed forms, complex steps through the whole inner loop, and autograd against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.harness.measure.bench import Bench, as_arrays
from experiments.judging.double_backward import double_backward
from experiments.judging.oracles.mlp import MLP
from experiments.judging.oracles.sweep import complex_step, sweep
from experiments.judging.verify import Weights, cancellation, error
from experiments.problems.tasks.stream import Arrays
from tests.conftest import bench

KINDS = ("maml", "fomaml", "reptile")
H = 1e-30


def inputs(b: Bench) -> tuple[Weights, Arrays]:
    import torch

    return as_arrays(dict(b.model(torch.float64).named_parameters())), b.stream().batch(0)


def oracle(b: Bench, kind: str) -> Weights:
    theta, batch = inputs(b)
    return b.oracle(kind, None)[1](theta, batch)  # type: ignore[arg-type]


def outer_loss(b: Bench, theta: Weights, batch: Arrays) -> complex:
    """The mean over tasks of Q(φ_K), by the forward computation alone; complex θ allowed."""
    network = MLP(b.params.part("model").integer("hidden"), b.params.part("model").text("activation"))
    tasks = len(batch.support_x)
    phi = {name: np.broadcast_to(value, (tasks, *value.shape)) for name, value in theta.items()}
    for _ in range(b.inner.steps):
        grads = network.gradient(phi, batch.support_x, batch.support_y)
        phi = {name: phi[name] - b.inner.lr * grads[name] for name in phi}
    return complex(network.loss(phi, batch.query_x, batch.query_y).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_closed_form_on_linear_regression(kind: str, steps: int) -> None:
    b = bench(family="linear", model={"hidden": 0, "width": 0, "activation": "relu"}, inner_steps=steps)
    theta, batch = inputs(b)
    network = MLP(0, "relu")

    def gradient_at(x, y):  # type: ignore[no-untyped-def]
        return lambda phi: network.gradient(phi, x, y)

    support, query = gradient_at(batch.support_x, batch.support_y), gradient_at(batch.query_x, batch.query_y)
    start = {name: np.broadcast_to(value, (3, *value.shape)) for name, value in theta.items()}
    swept = sweep(kind, start, support, query, complex_step(support), b.inner.lr, steps)  # type: ignore[arg-type]
    expected = oracle(b, kind)
    bound = 1e-13
    if kind == "reptile":  # θ − φ_K loses what rounding φ_K costs, differently with every BLAS
        bound += 10 * np.finfo(float).eps * cancellation(theta, expected)
    assert error({name: v.mean(axis=0) for name, v in swept.items()}, expected) < bound


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.integers(1, 3),
    width=st.integers(1, 9),
    activation=st.sampled_from(["relu", "tanh"]),
    steps=st.integers(0, 4),
    seed=st.integers(0, 2**32),
    confined=st.booleans(),
)
def test_directional_complex_steps_through_the_whole_inner_loop(
    hidden: int, width: int, activation: str, steps: int, seed: int, confined: bool
) -> None:
    model = {"hidden": hidden, "width": width, "activation": activation}
    b = bench(model=model, inner_steps=steps, inner_lr=0.05, seed=seed)
    theta, batch = inputs(b)
    meta_gradient = oracle(b, "maml")
    generator = np.random.default_rng(seed)
    direction = {name: generator.standard_normal(value.shape) for name, value in theta.items()}
    if confined:  # to one parameter
        only = list(theta)[seed % len(theta)]
        direction = {name: d * (name == only) for name, d in direction.items()}
    moved = {name: theta[name] + 1j * H * direction[name] for name in theta}
    expected = outer_loss(b, moved, batch).imag / H
    terms = [np.sum(meta_gradient[name] * direction[name]) for name in theta]
    assert abs(sum(terms) - expected) <= 1e-12 * max(1.0, sum(map(abs, terms)))


def test_coordinate_by_coordinate_on_a_tiny_network() -> None:
    b = bench(model={"hidden": 1, "width": 2, "activation": "tanh"}, inner_steps=3)
    theta, batch = inputs(b)
    meta_gradient = oracle(b, "maml")
    for name, value in theta.items():
        for index in np.ndindex(value.shape):
            moved = {k: v.astype(complex) for k, v in theta.items()}
            moved[name][index] += 1j * H
            expected = outer_loss(b, moved, batch).imag / H
            assert expected == pytest.approx(meta_gradient[name][index], rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_double_backward_agrees_with_complex_steps(kind: str, activation: str, steps: int) -> None:
    import torch

    b = bench(model={"hidden": 2, "width": 6, "activation": activation}, inner_steps=steps)
    theta, batch = inputs(b)
    model = b.model(torch.float64)
    meta_gradient = double_backward(kind, model, b.loss, theta, batch, b.inner.lr, steps)  # type: ignore[arg-type]
    assert error(meta_gradient, oracle(b, kind)) < 1e-12


def test_definitions_coincide_where_they_must() -> None:
    still = bench(inner_steps=0)
    assert error(oracle(still, "maml"), oracle(still, "fomaml")) == 0
    assert not any(value.any() for value in oracle(still, "reptile").values())
    moving = bench(inner_steps=2)
    assert error(oracle(moving, "fomaml"), oracle(moving, "maml")) > 1e-2
    one = bench(inner_steps=1)
    theta, batch = inputs(one)
    network = MLP(2, "tanh")
    start = {name: np.broadcast_to(value, (3, *value.shape)) for name, value in theta.items()}
    joint = network.gradient(start, batch.support_x, batch.support_y)
    expected = {name: one.inner.lr * g.mean(axis=0) for name, g in joint.items()}
    assert error(oracle(one, "reptile"), expected) < 1e-13


def test_the_quadratic_case_cannot_see_the_order_of_the_factors_but_tanh_can() -> None:
    def swept(b: Bench, backwards: bool) -> Weights:
        theta, batch = inputs(b)
        network = MLP(b.params.part("model").integer("hidden"), "tanh")
        start = {name: np.broadcast_to(value, (3, *value.shape)) for name, value in theta.items()}
        iterates = [start]
        for _ in range(3):
            grads = network.gradient(iterates[-1], batch.support_x, batch.support_y)
            iterates.append({name: iterates[-1][name] - b.inner.lr * grads[name] for name in start})
        product = complex_step(lambda phi: network.gradient(phi, batch.support_x, batch.support_y))
        v = network.gradient(iterates[-1], batch.query_x, batch.query_y)
        for phi in iterates[:-1] if backwards else iterates[-2::-1]:
            v = {name: v[name] - b.inner.lr * hv for name, hv in product(phi, v).items()}
        return {name: value.mean(axis=0) for name, value in v.items()}

    linear = bench(family="linear", model={"hidden": 0, "width": 0, "activation": "tanh"}, inner_steps=3)
    curved = bench(inner_steps=3)
    assert error(swept(linear, backwards=True), oracle(linear, "maml")) < 1e-12
    assert error(swept(curved, backwards=False), oracle(curved, "maml")) < 1e-12
    assert error(swept(curved, backwards=True), oracle(curved, "maml")) > 1e-4
