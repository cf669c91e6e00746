"""Training: implementations that compute the same stay together, and every one learns."""

import pytest
import torch

from baselines.contract import InnerLoop
from experiments.harness.measure.adaptation import heldout_losses
from experiments.harness.measure.outer_loop import outer_loop
from tests.conftest import IMPLEMENTATIONS, bench

NOTEBOOK = {
    "model": {"hidden": 2, "width": 40, "activation": "relu"},
    "tasks": 10,
    "shots": 5,
    "queries": 5,
    "inner_lr": 0.01,
    "inner_steps": 1,
}
SECOND_ORDER = ("higher", "learn2learn", "notebook")
FIRST_ORDER = ("higher-first-order", "learn2learn-first-order")


def losses(name: str, iterations: int = 100) -> torch.Tensor:
    b = bench(name, "float64", **NOTEBOOK)
    return torch.stack([loss for loss in outer_loop(b.setup, 1e-3, b.batches(iterations)) if loss is not None])


@pytest.mark.parametrize(("reference", "others"), [("unrolled", SECOND_ORDER), ("fomaml", FIRST_ORDER)])
def test_float64_training_agrees_over_100_iterations(reference: str, others: tuple[str, ...]) -> None:
    expected = losses(reference)
    assert len(expected) == 100
    for name in others:
        torch.testing.assert_close(losses(name), expected, rtol=1e-9, atol=0)


def test_first_and_second_order_training_differ() -> None:
    assert not torch.allclose(losses("unrolled", 30), losses("fomaml", 30), rtol=1e-4)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_implementation_learns(name: str) -> None:
    """150 steps on a small network lower the held-out loss after adaptation by a fifth."""
    b = bench(name, "float32", inner_steps=1, tasks=4, shots=5, queries=5, inner_lr=0.01)
    heldout = b.batch(0, "heldout")
    before = heldout_losses(b.setup.spec.model, b.loss, b.inner, heldout)[1].mean()
    for _ in outer_loop(b.setup, 1e-2, b.batches(150)):
        pass
    after = heldout_losses(b.setup.spec.model, b.loss, b.inner, heldout)[1].mean()
    assert after < 0.8 * before


def test_evaluation_adapts_by_plain_gradient_descent_and_changes_nothing() -> None:
    model = torch.nn.Linear(1, 1).double()
    frozen = torch.nn.Linear(1, 1).double().requires_grad_(False)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(0.0)
    b = bench(model={"hidden": 0, "width": 0, "activation": "tanh"}, family="sinusoid", inner_steps=1, inner_lr=0.1)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    batch = type(b.batch(0))(one, 0 * one, one, 0 * one)  # f(1) = w + b = 2, target 0
    before, after = heldout_losses(model, b.loss, b.inner, batch)
    # both gradients are 2·2 = 4, so w + b falls by 2 · 0.1 · 4
    assert before.tolist() == [4.0]
    assert after.tolist() == pytest.approx([(2.0 - 0.8) ** 2])
    assert model.weight.item() == 2.0 and model.bias.item() == 0.0
    before, after = heldout_losses(frozen, b.loss, b.inner, batch)
    assert before.tolist() == after.tolist()  # what is frozen is not adapted
    twice = torch.nn.Sequential(
        model, model
    )  # f(1) = w (w + b) + b = 4; its gradients are 2·4·(2w + b) and 2·4·(w + 1)
    parameters = (model.weight, model.bias)
    for _ in range(2):
        before, after = heldout_losses(twice, b.loss, InnerLoop(0.01, 1), batch)
        assert before.tolist() == [16.0]
        assert after.tolist() == pytest.approx([(1.68 * (1.68 - 0.24) - 0.24) ** 2])
        assert model.weight is parameters[0] and model.bias is parameters[1] and model.weight.item() == 2.0
