"""The peer libraries: the same meta-gradient as ours to the last digits, and nothing of the model's touched or kept."""

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import baselines
from baselines.contract import Baseline, InnerLoop, MetaGradient, Spec, TaskBatch
from experiments.judging.verify import error
from experiments.problems.networks import build as network
from experiments.problems.networks.losses import pseudo_huber
from tests.implementations import of_library

jax = pytest.importorskip("jax")
pytest.importorskip("torchopt")

TORCHOPT, JAX = sorted(of_library("torchopt")), sorted(of_library("jax"))
PEERS = (*TORCHOPT, *JAX)
MLP: dict[str, Any] = {"inputs": 2, "hidden": 1, "width": 4, "activation": "tanh"}
CNN: dict[str, Any] = {"side": 4, "channels": 1, "blocks": 1, "filters": 3}
QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""How to compile here, where that is most of the time; the contract and the golden cases run what is measured."""
NETWORKS = {"relu": MLP | {"hidden": 2, "activation": "relu"}, "tanh": MLP, "cnn": CNN}


def spec(model: nn.Module, steps: int = 1, loss: Callable[[Tensor, Tensor], Tensor] = F.mse_loss) -> Spec:
    p = next(model.parameters())
    return Spec(model, loss, InnerLoop(0.1, steps), p.device, p.dtype)


def build(name: str, model: nn.Module, steps: int = 1) -> Baseline:
    implementation = baselines.load(baselines.find(name))
    assert implementation.unavailable(spec(model, steps)) is None
    built = implementation(spec(model, steps))
    if name in JAX:
        built.jit = partial(jax.jit, compiler_options=QUICKLY)
    return built


def module_of(name: str) -> ModuleType:
    return sys.modules[baselines.load(baselines.find(name)).__module__]


def reason(name: str, model: nn.Module, steps: int = 1, loss: Callable[[Tensor, Tensor], Tensor] = F.mse_loss) -> str:
    return baselines.load(baselines.find(name)).unavailable(spec(model, steps, loss)) or ""


def model(description: dict[str, Any], dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    made = network(description).to(dtype)
    with torch.no_grad():
        for p in made.parameters():
            p.uniform_(-0.7, 0.7)
    return made


def batch(
    shape: tuple[int, ...] = (2,), tasks: int = 3, points: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0
) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    queries = points + 1
    return TaskBatch(
        draw(tasks, points, *shape), draw(tasks, points, 1), draw(tasks, queries, *shape), draw(tasks, queries, 1)
    )


def call(implementation: Baseline, data: TaskBatch) -> MetaGradient:
    return implementation.to_torch(implementation.meta_gradient(implementation.prepare(data)))


def distance(found: MetaGradient, expected: MetaGradient) -> float:
    assert list(found.grads) == list(expected.grads)
    assert found.task_losses is not None and expected.task_losses is not None
    torch.testing.assert_close(found.task_losses, expected.task_losses)
    return error(*({name: g.double().numpy() for name, g in result.grads.items()} for result in (found, expected)))


def same(name: str, made: nn.Module, data: TaskBatch, steps: int) -> None:
    """As `unrolled`, and the model as it was."""
    expected = call(build("unrolled", made, steps), data)
    parameters, buffers = dict(made.named_parameters()), dict(made.named_buffers())
    values = {key: value.clone() for key, value in made.state_dict().items()}
    modes = [m.training for m in made.modules()]
    assert distance(call(build(name, made, steps), data), expected) < 1e-12
    assert [m.training for m in made.modules()] == modes
    assert all(made.get_parameter(key) is p and p.grad is None for key, p in parameters.items())
    assert all(made.get_buffer(key) is b for key, b in buffers.items())
    assert all(torch.equal(value, values[key]) for key, value in made.state_dict().items())


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_as_ours_to_the_last_digits(name: str, kind: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in JAX and kind == "cnn" and steps > 1:  # a convolution compiles slowly, so once is enough
        monkeypatch.setattr(module_of(name), "UNROLLED", 0)
    same(name, model(NETWORKS[kind]), batch((1, 4, 4) if kind == "cnn" else (2,)), steps)


@pytest.mark.parametrize("name", JAX)
def test_many_steps_are_a_loop_in_the_program_too(name: str) -> None:
    """Beyond `UNROLLED` steps the program does not grow with their number, and computes the same."""
    unrolled = module_of(name).UNROLLED
    steps = unrolled + 2
    made, data = model(MLP), batch()
    same(name, made, data, steps)

    def size(steps: int) -> int:
        implementation = build(name, made, steps)
        network, *arrays = implementation.prepare(data)
        return len(str(implementation.function(network).trace(*arrays).jaxpr))

    assert size(10 * steps) < 1.1 * size(steps)
    assert size(unrolled) > 1.5 * size(unrolled // 2)


@pytest.mark.parametrize("name", JAX)
def test_float32_stays_float32(name: str) -> None:
    made, data = model(MLP, torch.float32), batch(dtype=torch.float32)
    implementation = build(name, made)
    prepared = implementation.prepare(data)
    assert "f64" not in str(implementation.function(prepared.network).trace(*prepared[1:]).jaxpr)
    found, expected = call(implementation, data), call(build("unrolled", made), data)
    assert all(g.dtype == torch.float32 for g in found.grads.values())
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("name", PEERS)
def test_results_keep_to_themselves(name: str) -> None:
    """Not each other's memory, nor the parameters', which an optimizer changes in place."""
    made = model(MLP)
    implementation = build(name, made)
    prepared = implementation.prepare(batch())
    first, second = (implementation.to_torch(implementation.meta_gradient(prepared)) for _ in range(2))
    owned = [t.data_ptr() for result in (first, second) for t in result.grads.values()]
    assert len({*owned, *(p.data_ptr() for p in made.parameters())}) == len(owned) + len(list(made.parameters()))
    kept = {key: g.clone() for key, g in first.grads.items()}
    with torch.no_grad():
        for key, p in made.named_parameters():
            p.sub_(0.1 * second.grads[key])
            second.grads[key].zero_()
    third = call(implementation, batch())
    assert all(torch.equal(first.grads[key], g) for key, g in kept.items())
    assert not any(torch.equal(third.grads[key], g) for key, g in kept.items())
    assert distance(third, call(build("unrolled", made), batch())) < 1e-12


@pytest.mark.parametrize("name", JAX)
def test_what_was_prepared_does_not_follow_the_tensors(name: str) -> None:
    made, data = model(MLP), batch()
    implementation = build(name, made)
    expected = call(build("unrolled", made), data)
    prepared = implementation.prepare(data)
    with torch.no_grad():
        for t in (*made.parameters(), *data):
            t.mul_(2)
    implementation.synchronize()  # nothing was asked for yet
    result = implementation.meta_gradient(prepared)
    implementation.synchronize()
    assert distance(implementation.to_torch(result), expected) < 1e-12


@pytest.mark.parametrize("name", PEERS)
def test_another_shape_and_another_inner_loop(name: str) -> None:
    made = model(MLP)
    implementation = build(name, made)
    for data in (batch(), batch(tasks=2, points=6, seed=1), batch()):
        assert distance(call(implementation, data), call(build("unrolled", made), data)) < 1e-12
    assert distance(call(build(name, made, 2), batch()), call(build("unrolled", made, 2), batch())) < 1e-12


@pytest.mark.parametrize("name", PEERS)
def test_parameters_that_are_not_simply_all_trained_and_used(name: str) -> None:
    tied = MLP | {"hidden": 3, "tied": {"hidden3.weight": "hidden2.weight"}}
    frozen, unused = {"frozen": ["hidden1.weight", "hidden2.bias"]}, {"unused": {"spare": [5]}}
    if name != "torchopt":
        same(name, model(tied | frozen | unused), batch(), 2)
        return
    same(name, model(MLP | unused), batch(), 2)
    same(name, model(tied), batch(), 1)
    assert "a second step trains them apart" in reason(name, model(tied), steps=2)
    same(name, model(tied | frozen), batch(), 0)
    assert "a frozen one has no gradient" in reason(name, model(tied | frozen))


@pytest.mark.parametrize("name", PEERS)
def test_a_layer_without_bias(name: str) -> None:
    same(name, nn.Sequential(nn.Linear(2, 3, bias=False), nn.Tanh(), nn.Linear(3, 1)).double(), batch(), 1)


@pytest.mark.parametrize("name", TORCHOPT)
def test_torchopt_leaves_running_statistics_alone(name: str) -> None:
    same(name, model(CNN | {"running": True}), batch((1, 4, 4)), 2)


def test_torchopt_puts_the_model_back_where_a_task_fails() -> None:
    made = model(CNN | {"running": True})
    before = [*made.parameters(), *made.buffers()]
    values = [t.clone() for t in before]
    implementation = build("torchopt", made)
    data = batch((1, 4, 4))
    seen = 0

    def fails_late(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == 4:  # the second task's query loss, with its adapted weights in the module
            raise ArithmeticError
        return F.mse_loss(prediction, target)

    object.__setattr__(implementation.spec, "loss", fails_late)
    with pytest.raises(ArithmeticError):
        implementation.meta_gradient(data)
    after = [*made.parameters(), *made.buffers()]
    assert all(a is b and torch.equal(a, v) for a, b, v in zip(after, before, values, strict=True))
    assert all(p.grad is None for p in made.parameters())
    object.__setattr__(implementation.spec, "loss", F.mse_loss)
    assert distance(call(implementation, data), call(build("unrolled", made), data)) < 1e-12


@pytest.mark.parametrize("name", JAX)
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Dropout(), "Dropout"),
        (nn.BatchNorm2d(3), "BatchNorm2d with running statistics"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "Conv2d with padding_mode=reflect"),
        (nn.MaxPool2d(2, ceil_mode=True), "MaxPool2d with ceil_mode"),
        (nn.Sequential(nn.Tanh(), nn.GELU()), "GELU"),
    ],
)
def test_jax_says_what_it_has_no_counterpart_of(name: str, layer: nn.Module, said: str) -> None:
    assert reason(name, nn.Sequential(nn.Linear(2, 2), layer)) == f"no JAX counterpart of {said}"


@pytest.mark.parametrize("name", JAX)
def test_jax_says_what_else_it_cannot_serve(name: str) -> None:
    assert reason(name, nn.Linear(2, 1)) == "no JAX counterpart of Linear, which is not a plain nn.Sequential"
    assert reason(name, model(MLP), loss=pseudo_huber) == "no JAX counterpart of the loss pseudo_huber"
    elsewhere = Spec(model(MLP), F.mse_loss, InnerLoop(0.1, 1), torch.device("cuda:7"), torch.float32)
    assert "JAX sees no device cuda:7" in (baselines.load(baselines.find(name)).unavailable(elsewhere) or "")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3, stride=2, padding=(2, 1), dilation=(1, 2), groups=2, bias=False),
        nn.Conv2d(2, 3, (1, 3), padding="same"),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d((2, 1), stride=(1, 2), dilation=(2, 3)),
        nn.BatchNorm2d(2, eps=0.1, affine=False, track_running_stats=False),
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.Flatten(2),
        nn.Flatten(1, 2),
        nn.Sequential(nn.ReLU(), nn.Tanh()),
    ],
    ids=str,
)
def test_layers_are_translated_option_by_option(layer: nn.Module) -> None:
    from baselines.libraries import _jax_network

    torch.manual_seed(0)
    layer = nn.Sequential(layer).double()
    x = torch.randn(3, 2, 7, 6, dtype=torch.float64).round(decimals=1)  # with ties
    x.requires_grad_()
    y = layer(x)
    weights = {name: jax.numpy.asarray(p.detach().numpy()) for name, p in layer.named_parameters()}
    seed = torch.randn_like(y)
    (by_torch,) = torch.autograd.grad(y, x, seed)

    @jax.jit
    def both(x: Any, seed: Any) -> Any:
        z, backward = jax.vjp(lambda x: _jax_network.forward(_jax_network.describe(layer))(weights, x), x)
        return z, backward(seed)[0]

    z, by_jax = map(torch.utils.dlpack.from_dlpack, both(*(jax.numpy.asarray(t.detach().numpy()) for t in (x, seed))))
    torch.testing.assert_close(z, y.detach())
    torch.testing.assert_close(by_jax, by_torch)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.harness.status import Unavailable
    from tests.conftest import bench

    for name, library in (("jax", "jax"), ("torchopt", "torchopt")):
        for module in [m for m in sys.modules if m.startswith("baselines.libraries.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(Unavailable, match=rf"^ModuleNotFoundError at import: .*{library}"):
            _ = bench(name).implementation
