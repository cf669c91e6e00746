"""Two threads with one model: each waits for its turn with the model's modules."""

import sys
import threading

import pytest
from torch import nn

from baselines._shared.module_state import exclusive
from baselines.contract import Baseline
from tests.baselines.changing import EAGER, Net, batch, build, call, plain, sequential, state
from tests.baselines.gradients import distance


def second_enters(first: nn.Module, second: nn.Module) -> bool:
    """Whether another thread gets `second` while this one has `first`; it has to get it afterwards."""
    entered = threading.Event()

    def enter() -> None:
        with exclusive(second):
            entered.set()

    thread = threading.Thread(target=enter)
    with exclusive(first), exclusive(first):  # again by the thread that has it
        thread.start()
        at_once = entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()
    return at_once


def test_a_model_is_one_threads_at_a_time_and_so_is_a_shared_layer() -> None:
    layer = nn.Linear(2, 2)
    model, sibling, other = nn.Sequential(layer), nn.Sequential(layer), nn.Sequential(nn.Linear(2, 2))
    assert not second_enters(model, model)
    assert not second_enters(model, sibling)
    assert not second_enters(model, layer)
    assert second_enters(model, other)


def test_what_raises_lets_the_model_go() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), exclusive(model):
        1 / 0  # noqa: B018
    assert not second_enters(model, model)


@pytest.mark.parametrize("name", [*EAGER, pytest.param("jax", marks=pytest.mark.slow)])
def test_two_threads_with_one_model_get_what_one_gets(name: str) -> None:
    """By way of an implementation each, and of one that they share; and the model is as it was."""
    model = Net(plain) if name not in ("notebook", "jax") else sequential()
    shared, points = build(name, model, 1), [batch(seed) for seed in range(2)]
    expected = [call(shared, each).grads for each in points]
    before, wrong = state(model), []

    def work(implementation: Baseline) -> None:
        for n in range(8):
            found = call(implementation, points[n % 2]).grads
            wrong.extend([n] * (distance(found, expected[n % 2]) > 1e-13))

    threads = [threading.Thread(target=work, args=(each,)) for each in (shared, shared, build(name, model, 1))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert state(model) == before
