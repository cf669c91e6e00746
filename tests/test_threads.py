"""Two threads with one model: each waits for its turn with the model's modules."""

import threading

import pytest
from torch import nn

from baselines._modules import exclusive


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
