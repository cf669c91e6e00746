"""Hand-written gradients of every kind of network: by autograd, and by complex steps through the whole inner loop."""

from typing import Any

import numpy as np
import pytest
import torch

from experiments.harness.measure.bench import as_arrays
from experiments.judging.oracles.curvature import largest_eigenvalue
from experiments.judging.oracles.described import Description, Oracle, network, shapes
from experiments.judging.verify import Weights, error
from experiments.problems import networks
from experiments.problems.networks.losses import LOSSES
from experiments.problems.tasks.stream import Arrays

H = 1e-30
MLP: Description = {"inputs": 2, "hidden": 2, "width": 3, "activation": "tanh"}
CNN: Description = {"side": 4, "channels": 2, "blocks": 1, "filters": 2}
NETWORKS: dict[str, Description] = {
    "huber": {"inputs": 2, "hidden": 2, "width": 3, "activation": "tanh", "loss": "pseudo-huber"},
    "linear, three outputs": {"inputs": 2, "hidden": 0, "width": 0, "activation": "relu", "outputs": 3},
    "relu": MLP | {"activation": "relu", "outputs": 2},
    "tanh": MLP,
    "tied": MLP | {"hidden": 3, "tied": {"hidden3.weight": "hidden2.weight", "hidden3.bias": "hidden1.bias"}},
    "frozen": MLP | {"frozen": ["hidden1.weight", "out.bias"]},
    "unused": MLP | {"unused": {"spare": [2, 3]}},
    "all three": MLP
    | {"hidden": 3, "tied": {"hidden3.weight": "hidden2.weight"}, "frozen": ["hidden1.bias"], "unused": {"spare": [4]}},
    "cnn": CNN,
    "cnn, two blocks": CNN | {"blocks": 2, "outputs": 2},
    "cnn, running statistics": CNN | {"running": True, "channels": 1},
}


def inputs(description: Description, seed: int = 0, tasks: int = 2) -> tuple[Weights, Arrays]:
    """Weights of every parameter, and a batch with more query than support points."""
    draw = np.random.default_rng(seed).standard_normal
    one = (description["channels"], *[description["side"]] * 2) if "blocks" in description else (description["inputs"],)
    outputs = description.get("outputs", 1)
    weights = {name: 0.7 * draw(shape) for name, shape in shapes(description).items()}
    parts = [draw((tasks, points, *size)) for points in (3, 5) for size in (one, (outputs,))]
    return weights, Arrays(*parts)


def trained(description: Description, weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if name not in description.get("frozen", ())}


def outer_loss(description: Description, weights: dict[str, Any], batch: Arrays, lr: float, steps: int) -> complex:
    """The mean over tasks of Q(φ_K), by the forward computation alone; complex weights allowed."""
    net = network(description, {name: weights[name] for name in description.get("frozen", ())})
    tasks = len(batch.support_x)
    phi = {n: np.broadcast_to(v, (tasks, *v.shape)) for n, v in trained(description, weights).items()}
    for _ in range(steps):
        grads = net.gradient(phi, batch.support_x, batch.support_y)
        phi = {name: phi[name] - lr * grads[name] for name in phi}
    return complex(net.loss(phi, batch.query_x, batch.query_y).mean())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_module_has_the_described_parameters(name: str) -> None:
    model = networks.build(NETWORKS[name])
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == shapes(NETWORKS[name])
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == NETWORKS[name].get("frozen", [])


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradient_are_those_of_autograd(name: str) -> None:
    description = NETWORKS[name]
    weights, batch = inputs(description)
    model = networks.build(description).double()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(torch.from_numpy(weights[n]))
    net = network(description, {n: weights[n] for n in description.get("frozen", ())})
    theta = {n: np.broadcast_to(v, (2, *v.shape)) for n, v in trained(description, weights).items()}
    losses, grads = (f(theta, batch.query_x, batch.query_y) for f in (net.loss, net.gradient))
    for task in range(2):
        x, y = torch.from_numpy(batch.query_x[task]), torch.from_numpy(batch.query_y[task])
        model.zero_grad()
        loss = LOSSES[description.get("loss", "squared error")](model(x), y)
        loss.backward()
        assert losses[task] == pytest.approx(loss.item(), rel=1e-14)
        grads_by_name = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
        expected = as_arrays({n: g for n, g in grads_by_name.items() if n in theta})
        assert error({n: g[task] for n, g in grads.items()}, expected) < 1e-13


@pytest.mark.parametrize("name", NETWORKS)
def test_directions_through_the_whole_inner_loop(name: str) -> None:
    """Random ones, and one confined to each parameter."""
    description = NETWORKS[name]
    weights, batch = inputs(description, seed=1)
    meta_gradient = Oracle(description, 0.05, 3)("maml", weights, batch)
    generator = np.random.default_rng(2)
    for only in [None, None, *meta_gradient]:
        direction = {n: generator.standard_normal(v.shape) * (only in (None, n)) for n, v in meta_gradient.items()}
        moved = {n: v + 1j * H * direction.get(n, 0) for n, v in weights.items()}
        expected = outer_loss(description, moved, batch, 0.05, 3).imag / H
        terms = [np.sum(meta_gradient[n] * direction[n]) for n in meta_gradient]
        assert sum(terms) == pytest.approx(expected, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("name", ["tied", "frozen", "unused", "cnn"])
def test_coordinate_by_coordinate(name: str) -> None:
    description = NETWORKS[name]
    weights, batch = inputs(description, seed=3)
    meta_gradient = Oracle(description, 0.05, 2)("maml", weights, batch)
    for n in meta_gradient:
        for index in np.ndindex(meta_gradient[n].shape):
            moved = {k: v.astype(complex) for k, v in weights.items()}
            moved[n][index] += 1j * H
            expected = outer_loss(description, moved, batch, 0.05, 2).imag / H
            assert meta_gradient[n][index] == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_first_order_methods_by_their_definition(name: str) -> None:
    description = NETWORKS[name]
    weights, batch = inputs(description, seed=4)
    net = network(description, {n: weights[n] for n in description.get("frozen", ())})
    start = {n: np.broadcast_to(v, (2, *v.shape)) for n, v in trained(description, weights).items()}
    phi = start
    for _ in range(3):
        grads = net.gradient(phi, batch.support_x, batch.support_y)
        phi = {n: phi[n] - 0.05 * grads[n] for n in phi}
    query = net.gradient(phi, batch.query_x, batch.query_y)
    oracle = Oracle(description, 0.05, 3)
    assert error(oracle("fomaml", weights, batch), {n: g.mean(axis=0) for n, g in query.items()}) < 1e-14
    moved = {n: (start[n] - phi[n]).mean(axis=0) for n in phi}
    assert error(oracle("reptile", weights, batch), moved) < 1e-14


def test_the_closed_form_agrees_with_the_sweep() -> None:
    description = {"inputs": 2, "hidden": 0, "width": 0, "activation": "relu"}
    weights, batch = inputs(description)
    closed, swept = Oracle(description, 0.1, 4), Oracle(description | {"unused": {"spare": [1]}}, 0.1, 4)
    assert (closed.name, swept.name) == ("closed form", "complex step")
    for kind in ("maml", "fomaml", "reptile"):
        meta_gradient = swept(kind, weights | {"spare": np.ones(1)}, batch)
        assert meta_gradient.pop("spare") == 0
        assert error(meta_gradient, closed(kind, weights, batch)) < 1e-13


def test_a_bias_before_batch_normalisation_has_no_gradient() -> None:
    weights, batch = inputs(CNN)
    meta_gradient = Oracle(CNN, 0.05, 2)("maml", weights, batch)
    assert np.abs(meta_gradient["conv1.bias"]).max() < 1e-14 * np.abs(meta_gradient["conv1.weight"]).max()


def test_the_nearest_kink_is_found() -> None:
    one = {"out.weight": np.ones((1, 1, 4)), "out.bias": np.zeros((1, 1))}
    conv = {"conv1.weight": np.zeros((1, 1, 1, 3, 3)), "conv1.bias": np.zeros((1, 1))}
    conv["conv1.weight"][..., 1, 1] = 1.0  # every pixel as it is
    norm = {"norm1.weight": np.ones((1, 1)), "norm1.bias": np.zeros((1, 1))}
    image = np.arange(16.0).reshape(1, 1, 1, 4, 4) - 7.5  # standard deviation 4.61
    net = network({"blocks": 1})
    net.gradient(one | conv | norm, image, np.zeros((1, 1, 1)))
    assert net.nearest_kink == pytest.approx(0.5 / np.sqrt(21.25), rel=1e-6)
    image[..., 3, 3] = image[..., 3, 2] + 1e-3
    net.gradient(one | conv | norm, image, np.zeros((1, 1, 1)))
    assert net.nearest_kink == pytest.approx(1e-3 / image.std(), rel=1e-3)


def test_the_largest_eigenvalue_of_linear_regression() -> None:
    description = {"inputs": 2, "hidden": 0, "width": 0, "activation": "relu"}
    weights, batch = inputs(description)
    theta = {n: np.broadcast_to(v, (2, *v.shape)) for n, v in weights.items()}
    net = network(description)
    eigenvalue = largest_eigenvalue(lambda phi: net.gradient(phi, batch.support_x, batch.support_y), theta)
    with_one = np.concatenate([batch.support_x, np.ones((2, 3, 1))], axis=2)
    hessians = 2 * with_one.transpose(0, 2, 1) @ with_one / 3
    assert eigenvalue == pytest.approx(np.linalg.eigvalsh(hessians).max(), rel=1e-12)
