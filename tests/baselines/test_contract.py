"""What every implementation owes its caller, whatever it computes."""

import copy
import gc
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import baselines
from baselines.contract import Stateless, TaskBatch, trainable
from experiments.judging.double_backward import double_backward
from experiments.problems.tasks.stream import Arrays
from tests.baselines.models import Tied, batch, build, frozen, mlp
from tests.conftest import IMPLEMENTATIONS, bench
from tests.implementations import COMPILED, OURS

VARIANTS = {
    "adjoint-checkpointed", "fomaml-compiled", "higher-first-order", "learn2learn-first-order", "pretraining-compiled"
}  # fmt: skip
DISTINCT = sorted({*IMPLEMENTATIONS} - VARIANTS)  # of each code one: the slower tests need no more


class Unused(nn.Module):
    """A parameter that the loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def with_running_statistics() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def shared() -> nn.Sequential:
    """One layer that stands in the network twice."""
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


def shared_norm() -> nn.Sequential:
    """The same with parameters and running statistics."""
    norm = nn.BatchNorm1d(3)
    return nn.Sequential(nn.Linear(3, 3, bias=False), norm, nn.Tanh(), nn.Linear(3, 3, bias=False), norm)


class Everywhere(nn.Module):
    """A layer under two names, its weight under a third, which is its first, and a buffer under two."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = self.again = nn.Linear(3, 3)
        self.weight = self.layer.weight
        self.register_buffer("calls", torch.zeros(3))
        self.register_buffer("also", self.calls)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.again(torch.tanh(self.layer(x))) @ self.weight + self.also


def by_hand(computes: str, layer: nn.Linear, data: TaskBatch, lr: float, steps: int) -> list[Tensor]:
    """What `computes` names, for `shared`: the gradients of its layer's weight and bias, from the definitions."""
    theta = [layer.weight.detach().clone().requires_grad_(), layer.bias.detach().clone().requires_grad_()]

    def gradient(at: list[Tensor], by: list[Tensor], x: Tensor, y: Tensor, again: bool = False) -> list[Tensor]:
        weight, bias = at
        loss = ((torch.tanh(x @ weight.T + bias) @ weight.T + bias - y) ** 2).mean()
        return list(torch.autograd.grad(loss, by, create_graph=again))

    def of_task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> list[Tensor]:
        if computes == "pretraining":
            return gradient(theta, theta, support_x, support_y)
        phi = theta
        for _ in range(steps):
            grads = gradient(phi, phi, support_x, support_y, again=True)
            phi = [p - lr * g for p, g in zip(phi, grads, strict=True)]
        if computes == "reptile":
            return [(start - end).detach() for start, end in zip(theta, phi, strict=True)]
        return gradient(phi, theta if computes == "maml" else phi, query_x, query_y)

    tasks = [of_task(*task) for task in zip(*data, strict=True)]
    return [torch.stack(parts).mean(0) for parts in zip(*tasks, strict=True)]


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by every name it has."""
    return dict((*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_leaves_the_model_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    model = mlp()
    implementation = build(name, model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modules, modes = list(model.modules()), [m.training for m in model.modules()]
    implementation.meta_gradient(implementation.prepare(batch()))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert list(model.modules()) == modules
    assert [m.training for m in model.modules()] == modes


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_has_one_gradient_of_the_right_shape_per_parameter(name: str) -> None:
    model = mlp()
    implementation = build(name, model)
    result = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch(tasks=2))))
    assert {key: g.shape for key, g in result.grads.items()} == {k: p.shape for k, p in model.named_parameters()}
    assert not any(g.requires_grad for g in result.grads.values())
    assert result.task_losses is None or result.task_losses.shape == (2,)
    assert (result.task_losses is None) == (implementation.computes in ("reptile", "pretraining"))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_result_survives_the_next_call(name: str) -> None:
    torch.manual_seed(0)
    implementation = build(name, mlp())
    first = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch(seed=0))))
    kept = {key: g.clone() for key, g in first.grads.items()}
    second = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch(seed=1))))
    assert all(torch.equal(first.grads[key], kept[key]) for key in kept)
    assert not any(torch.equal(first.grads[key], second.grads[key]) for key in kept)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_sees_the_models_current_parameters(name: str) -> None:
    torch.manual_seed(0)
    model = mlp()
    implementation = build(name, model)
    first = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch())))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
    second = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch())))
    fresh = build(name, model)
    expected = fresh.to_torch(fresh.meta_gradient(fresh.prepare(batch())))
    assert all(torch.allclose(second.grads[key], expected.grads[key], rtol=1e-12) for key in expected.grads)
    assert not any(torch.allclose(second.grads[key], first.grads[key]) for key in expected.grads)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_layer_that_stands_in_the_network_twice(name: str) -> None:
    torch.manual_seed(0)
    model = shared()
    steps = 1 if name in (*COMPILED, "notebook") else 2
    implementation = build(name, model, steps)
    before = {key: (t, t.detach().clone()) for key, t in tensors(model).items()}
    expected = by_hand(implementation.computes, model[0], batch(), 0.1, steps)
    for _ in range(2):  # the second call finds what the first has left
        result = implementation.to_torch(implementation.meta_gradient(implementation.prepare(batch())))
        assert list(result.grads) == ["0.weight", "0.bias"]
        for g, e in zip(result.grads.values(), expected, strict=True):
            torch.testing.assert_close(g, e, rtol=1e-12, atol=1e-15)
        assert tensors(model).keys() == before.keys()
        assert all(t is before[key][0] and torch.equal(t, before[key][1]) for key, t in tensors(model).items())


@pytest.mark.parametrize("name", OURS)
def test_ours_serve_statistics_that_are_kept_twice(name: str) -> None:
    torch.manual_seed(0)
    model = shared_norm()
    steps = 1 if name in COMPILED else 2
    implementation = build(name, model, steps)
    before = {key: (t, t.detach().clone()) for key, t in tensors(model).items()}
    theta = {key: p.detach().numpy() for key, p in model.named_parameters()}
    arrays = Arrays(*(part.numpy() for part in batch()))
    loss = nn.functional.mse_loss
    expected = double_backward(implementation.computes, model, loss, theta, arrays, 0.1, steps)
    for _ in range(2):
        result = implementation.meta_gradient(implementation.prepare(batch()))
        for key, g in result.grads.items():
            torch.testing.assert_close(g, torch.from_numpy(expected[key]), rtol=1e-10, atol=1e-13)
        assert all(t is before[key][0] and torch.equal(t, before[key][1]) for key, t in tensors(model).items())


@pytest.mark.parametrize("factory", [Tied, shared, shared_norm, Everywhere, with_running_statistics])
def test_a_module_as_a_function_of_its_tensors(factory: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = factory().double(), batch().support_x[0]
    before = {key: (t, t.detach().clone()) for key, t in tensors(model).items()}
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.5)
    given = {key: t.detach().clone() for key, t in (*other.named_parameters(), *other.named_buffers())}
    assert torch.equal(Stateless(model)(given, x), other(x))
    assert all(torch.equal(given[key], b) for key, b in other.named_buffers())  # what it writes to is what was given
    assert tensors(model).keys() == before.keys()
    assert all(t is before[key][0] and torch.equal(t, before[key][1]) for key, t in tensors(model).items())
    assert torch.equal(Stateless(copy.deepcopy(model))({}, x), model(x))  # what is not given is its own


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("factory", [Tied, Unused, frozen, with_running_statistics])
def test_ours_serve_any_module(name: str, factory: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = factory()
    implementation = build(name, model, steps=1 if name in COMPILED else 2)  # which compiles in a third of the time
    buffers = {key: b.clone() for key, b in model.named_buffers()}
    result = implementation.meta_gradient(implementation.prepare(batch()))
    assert result.grads.keys() == trainable(model).keys()
    unused = {key for key in result.grads if key.startswith("unused")}
    assert {key for key, g in result.grads.items() if not g.any()} == unused
    assert all(torch.equal(b, buffers[key]) for key, b in model.named_buffers())


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize(("tasks", "points"), [(1, 4), (2, 1), (1, 1)])
def test_one_task_and_one_point(name: str, tasks: int, points: int) -> None:
    torch.manual_seed(0)
    model = mlp()
    small = batch(tasks, points)
    implementation = build(name, model)
    result = implementation.to_torch(implementation.meta_gradient(implementation.prepare(small)))
    computes = baselines.load(baselines.names()[name]).computes
    reference = {"maml": "unrolled"}.get(computes, computes)
    expected = build(reference, model).meta_gradient(small)
    for key, g in result.grads.items():
        torch.testing.assert_close(g, expected.grads[key], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", DISTINCT)
def test_leaks_nothing(name: str) -> None:
    """Number and size of live tensors are the same after 50 calls and after many more, without collecting."""
    setup = bench(name, inner_steps=1, tasks=2, shots=2, queries=2).setup
    data = bench(tasks=2, shots=2, queries=2).batch(0)

    def live() -> tuple[int, int]:
        tensors = [o for o in gc.get_objects() if issubclass(type(o), Tensor)]
        return len(tensors), sum(t.numel() for t in tensors)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(50):
            setup.meta_gradient(data)
        gc.collect()
        gc.disable()  # what is only freed by the collector counts as leaked
        try:
            before = live()
            for _ in range(2000 if name == "notebook" else 200):
                setup.meta_gradient(data)
            assert live() == before
        finally:
            gc.enable()
