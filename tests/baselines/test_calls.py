"""Whatever surrounds a call, or goes wrong in it: the result is that of the definition, and the model as it was."""

import copy
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import baselines
from baselines._shared.eager import Absent
from tests.baselines.changing import (
    ANY,
    CLONING,
    EAGER,
    SECOND_ORDER_LIBRARIES,
    VMAPPED,
    Net,
    batch,
    build,
    call,
    plain,
    reason,
    right,
    sequential,
    served,
    spec,
    steps_of,
    truth,
)
from tests.baselines.gradients import distance

pytestmark = pytest.mark.slow

# Failures


@pytest.mark.parametrize("where", ["query", "support", "second task"])
@pytest.mark.parametrize("name", EAGER)
def test_after_an_exception_the_model_is_as_it_was_and_the_next_call_right(name: str, where: str) -> None:
    model = sequential() if name == "notebook" else with_buffers()
    built, points = build(name, model), batch()
    call(built, points)
    if where == "second task":
        calls: list[int] = []

        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            calls.append(1)
            if len(calls) == 5:
                raise RuntimeError("the fifth loss")
            return F.mse_loss(prediction, target)

        built = baselines.load(baselines.find(name))(spec(model, steps_of(name), loss))
        result = served(built, points)
        assert isinstance(result, str) or name in VMAPPED  # which call the loss for all tasks at once
    else:
        broken = {f"{where}_x": torch.ones(3, 4, 5, dtype=torch.float64)}
        if not (where == "query" and built.computes in ("reptile", "pretraining")):
            assert isinstance(served(built, points._replace(**broken)), str)
    built = build(name, model)
    assert right(name, served(built, points), truth(name, model, points))


def with_buffers() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    model = nn.Sequential(nn.Linear(2, 3), norm, nn.Tanh(), nn.Linear(3, 1))
    model.register_buffer("unused", torch.zeros(2))
    return model.double()


# What surrounds a call


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, torch.autograd.detect_anomaly, lambda: torch.autocast("cpu", torch.bfloat16)],
)
@pytest.mark.parametrize("name", EAGER)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_modes_of_the_process_change_nothing(name: str, around: Callable[[], AbstractContextManager[object]]) -> None:
    built, expected = build(name, sequential()), truth(name, sequential(), batch())
    with around():
        points = batch()
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        result = served(built, points)
        assert modes == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    assert right(name, result, expected)
    assert not isinstance(result, str) and not any(g.is_inference() for g in result.grads.values())


@pytest.mark.parametrize("name", EAGER)
def test_a_grad_that_is_there_before_stays_and_takes_no_part(name: str) -> None:
    model = sequential()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    assert right(name, served(build(name, model), batch()), truth(name, sequential(), batch()))


# What a forward may do


def writing(net: Net, x: Tensor) -> Tensor:
    net.last = net.a(x)
    net.outputs[len(net.outputs)] = net.last
    net.history.append(net.last)
    return net.b(torch.tanh(net.last))


def start_writing(net: Net) -> None:
    net.outputs, net.history = {}, []


@pytest.mark.parametrize("name", ANY)
def test_what_a_forward_writes_to_its_module_is_undone(name: str) -> None:
    model = Net(writing, start_writing)
    built = build(name, model)
    assert right(name, served(built, batch()), truth(name, Net(plain), batch()))
    copy.deepcopy(model)
    assert not any(type(each) is Absent for each in gc.get_objects())  # which raises at whoever looks at all tensors
    assert built.spec.model is model


def growing(net: Net, x: Tensor) -> Tensor:
    if not hasattr(net, "scale"):
        net.scale = nn.Parameter(torch.full((1,), 1.5, dtype=x.dtype))
    return plain(net, x) * net.scale


def listing(net: Net) -> None:
    net.weights = [net.a.weight]


def enclosing(net: Net) -> None:
    weight = net.a.weight
    net.linear = lambda x: F.linear(x, weight)


def bound(net: Net) -> None:
    net.layers = [net.a.forward, net.b.forward]


def holding(net: Net) -> None:
    net.layers = [net.a, net.b]


def by_list(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.tanh(F.linear(x, net.weights[0], net.a.bias)))


def by_closure(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.tanh(net.linear(x) + net.a.bias))


def by_layers(net: Net, x: Tensor) -> Tensor:
    return net.layers[1](torch.tanh(net.layers[0](x)))


def in_place(net: Net, x: Tensor) -> Tensor:
    return plain(net, x.mul_(2))


def counting(net: Net, x: Tensor) -> Tensor:
    net.calls += 1
    return plain(net, x) * net.calls


def counter(net: Net) -> None:
    net.register_buffer("calls", torch.zeros(()))


def caching(net: Net, x: Tensor) -> Tensor:
    """Twice the weight, computed once."""
    if net.cache is None:
        net.cache = 2 * net.a.weight
    return net.b(torch.tanh(F.linear(x, net.cache, net.a.bias)))


def by_version(net: Net, x: Tensor) -> Tensor:
    """The same, computed when an optimizer has changed the weight in place."""
    if net.cache is None or net.cache[0] != net.a.weight._version:
        net.cache = net.a.weight._version, 2 * net.a.weight
    return net.b(torch.tanh(F.linear(x, net.cache[1], net.a.bias)))


def twice(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.tanh(F.linear(x, 2 * net.a.weight, net.a.bias)))


def no_cache(net: Net) -> None:
    net.cache = None


LIBRARIES = {*SECOND_ORDER_LIBRARIES, *CLONING}
FORWARDS: dict[str, tuple[Callable[[], Net], Callable[[], Net], set[str]]] = {
    "adds a parameter": (lambda: Net(growing), lambda: Net(plain), {*ANY}),
    "a list of weights": (lambda: Net(by_list, listing), lambda: Net(plain), {*ANY}),
    "a closure over a weight": (lambda: Net(by_closure, enclosing), lambda: Net(plain), {*ANY}),
    "a list of layers": (lambda: Net(by_layers, holding), lambda: Net(plain), CLONING),
    "bound methods": (lambda: Net(by_layers, bound), lambda: Net(plain), CLONING),
    "writes to x": (lambda: Net(in_place), lambda: Net(plain), {*ANY}),
    "counts in a buffer": (lambda: Net(counting, counter), lambda: Net(plain), LIBRARIES),
    "a cache": (lambda: Net(caching, no_cache), lambda: Net(twice), LIBRARIES),
    "a cache by version": (lambda: Net(by_version, no_cache), lambda: Net(twice), LIBRARIES),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("kind", FORWARDS)
def test_forwards_are_at_the_adapted_parameters_or_refused(kind: str, name: str) -> None:
    make, equal, refused = FORWARDS[kind]
    built = build(name, make())
    try:
        result = served(built, batch())
    except UnboundLocalError:  # how learn2learn ends where a parameter is not used
        assert name.startswith("learn2learn") and name in refused
        return
    assert right(name, result, truth(name, equal(), batch())) == (name not in refused)


@pytest.mark.parametrize("name", ANY)
def test_a_forward_that_begins_to_remember_is_refused_and_by_ours_once_only(name: str) -> None:
    model = Net(twice, no_cache)
    built = build(name, model)
    assert right(name, served(built, batch()), truth(name, Net(twice), batch()))
    model.of = caching
    assert isinstance(served(built, batch()), str)
    result = served(built, batch())
    assert right(name, result, truth(name, Net(twice), batch())) == (name not in LIBRARIES)


@pytest.mark.parametrize("name", EAGER)
def test_weights_that_are_cached_by_the_process_are_refused(name: str) -> None:
    model = sequential()
    parametrizations.orthogonal(model[2], orthogonal_map="cayley")
    with parametrize.cached():
        assert reason(name, model)
    if name != "notebook":
        assert right(name, served(build(name, model), batch()), truth(name, model, batch()))


@pytest.mark.parametrize("name", EAGER)
def test_a_loss_that_reads_the_model_meets_the_adapted_parameters_or_is_refused(name: str) -> None:
    model = sequential()

    def decayed(prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(prediction, target) + 0.1 * model[0].weight.square().sum()

    built = baselines.load(baselines.find(name))(spec(model, steps_of(name), decayed))
    result = served(built, batch())
    assert isinstance(result, str) == (name in {*CLONING, "notebook"})
    if not isinstance(result, str):
        assert distance(result.grads, by_penalty(name)) < 1e-12


@pytest.mark.parametrize("name", EAGER)
def test_a_parameter_of_the_loss_is_a_constant_to_which_no_result_is_attached(name: str) -> None:
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def scaled(prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(prediction * scale, target)

    result = served(baselines.load(baselines.find(name))(spec(sequential(), steps_of(name), scaled)), batch())
    scale = scale.detach()
    expected = call(baselines.load(baselines.find(name))(spec(sequential(), steps_of(name), scaled)), batch())
    assert not isinstance(result, str)
    for part in (result.task_losses, *result.grads.values()):
        assert part is None or not part.requires_grad
    assert distance(result.grads, expected.grads) < 1e-13


def by_penalty(name: str) -> dict[str, Tensor]:
    """The same with the weight's penalty as an output of the network."""

    def penalised(net: Net, x: Tensor) -> Tensor:
        return torch.cat([plain(net, x), net.a.weight.square().sum().expand(len(x), 1)], 1)

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(prediction[:, :1], target) + 0.1 * prediction[0, 1]

    net = Net(penalised)
    reference = {"maml": "unrolled"}.get(computes := baselines.load(baselines.find(name)).computes, computes)
    grads = call(baselines.load(baselines.find(reference))(spec(net, 2, loss)), batch()).grads
    return dict(zip(dict(sequential().named_parameters()), grads.values(), strict=True))
