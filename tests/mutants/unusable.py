"""Functions that can't be audited, each with one word for how it fails."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]

META_STEP = 3
average = torch.zeros((), dtype=torch.float64)


def raises(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """An ordinary mistake, with a message of several long lines. [raises]"""
    raise ValueError("the weights of layer 3 do not fit:\n" + "expected (40, 1), found (1, 40); " * 200)


def raises_without_a_word(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """An exception that says nothing. [raises]"""
    assert model is None


def stops_the_interpreter(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """`sys.exit()`, which is an exception and says that all is well. [exits]"""
    sys.exit()


def leaves_at_once(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The process ends with status 3 and no traceback. [exits]"""
    os._exit(3)


def leaves_at_once_and_says_all_is_well(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """The process ends with status 0 in the middle. [exits]"""
    os._exit(0)


def segfaults(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """Memory that is not there is read. [crashes]"""
    ctypes.string_at(0)


def sleeps(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """It waits for something that never comes. [hangs]"""
    time.sleep(1e6)


def never_ends(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """It computes for ever and ignores polite requests to stop. [hangs]"""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def leaves_a_grandchild(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A process of its own goes on when this one is stopped. [hangs]"""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(1e6)


def floods(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """Some 50 MB of output come before the exception. [raises]"""
    for i in range(500):
        print(f"{i}: " + "loss 0.123456789 " * 6000, flush=True)
    raise RuntimeError("lost in the output")


def returns_nonsense(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> str:
    """A word is returned, and no gradient left. [nonsense]"""
    return "done"


def three_parameters(model: nn.Module, loss_fn: Loss, batch: tuple[Pair, Pair]) -> None:
    """A function of another signature. [signature]"""
    (loss_fn(model(batch[0][0][0]), batch[0][1][0])).backward()


def seven_parameters(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int, device: str
) -> None:
    """A function that wants one thing more. [signature]"""
    model.to(device)


def raises_in_its_second_call(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """A running average of losses keeps a graph from one call to the next. [second]"""
    global average
    average = 0.9 * average + 0.1 * loss_fn(model(query[0][0]), query[1][0])
    average.backward()


def raises_for_any_number_of_steps(
    model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int
) -> None:
    """One step only, it says, and has a mistake there. [raises]"""
    if inner_steps != 1:
        raise ValueError("one step only")
    raise KeyError("the bug that the user has to find")


def convolves(model: nn.Module, loss_fn: Loss, support: Pair, query: Pair, inner_lr: float, inner_steps: int) -> None:
    """A forward pass for images. [images]"""
    torch.nn.functional.conv2d(support[0][0], torch.ones(2, 1, 3, 3, dtype=torch.float64))
