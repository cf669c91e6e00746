"""Networks and losses that compute something else at each forward: the answer is one of those that are possible."""

import functools
import itertools
import os
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.contract import Computes, Params, TaskBatch
from tests.zoo import truth
from tests.zoo.records import DOUBLE, Draw

VALUES = (0.5, 2.0)


class Tossed(nn.Module):
    """One hidden number, which the coin multiplies."""

    def __init__(self, coin: nn.Module | None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 1, dtype=DOUBLE), nn.Linear(1, 3, dtype=DOUBLE)
        self.coin = nn.Identity() if coin is None else coin

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3) to (1, 3)."""
        return self.b(self.coin(torch.tanh(self.a(x))))  # type: ignore[no-any-return]


class Loss:
    """The squared error of a prediction that the coin multiplies."""

    def __init__(self, coin: nn.Module | None) -> None:
        self.coin = nn.Identity() if coin is None else coin

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(self.coin(prediction[:, :1]) * prediction, target)


class Scripted(nn.Module):
    """The coin as it may fall."""

    def __init__(self, values: tuple[float, ...]) -> None:
        super().__init__()
        self.values = iter(values)

    def forward(self, h: Tensor) -> Tensor:
        """The next value."""
        return h * next(self.values)


def build(draw: Draw) -> tuple[nn.Module, Loss]:
    """The network and the loss."""
    torch.manual_seed(0)
    coin = draw.coin()
    return (Tossed(None), Loss(coin)) if draw.in_loss else (Tossed(coin), Loss(None))


def possible(draw: Draw, model: nn.Module, loss: Loss, batch: TaskBatch, computes: Computes) -> list[Params]:
    """The meta-gradients of one task and one step, however the coin falls."""
    owner: Any = loss if draw.in_loss else model
    coin, found = owner.coin, []
    for values in itertools.product(draw.values, repeat=2):  # a support and a query loss
        owner.coin = Scripted(values)
        found.append(truth.meta_gradient(model, loss, batch, computes, steps=1))
    owner.coin = coin
    return found


class Coin(nn.Module):
    """Falls as `toss` says: a bool, or a tensor of one."""

    def __init__(self, toss: Callable[[], Any], **held: Any) -> None:
        super().__init__()
        self.toss = toss
        vars(self).update(held)

    def forward(self, h: Tensor) -> Tensor:
        """h times one of the two values."""
        heads = self.toss()
        if isinstance(heads, Tensor):
            return h * torch.where(heads, torch.tensor(VALUES[0], dtype=DOUBLE), VALUES[1])
        return h * VALUES[0] if heads else h * VALUES[1]


class Counting(nn.Module):
    """Alternates by an attribute."""

    calls = 0

    def forward(self, h: Tensor) -> Tensor:
        """h times each value in turn."""
        self.calls += 1
        return h * VALUES[self.calls % 2]


class Rolling(nn.Module):
    """Alternates by a container that is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.values = deque((0.5, 0.5, 2.0, 0.5, 2.0, 2.0, 2.0))

    def forward(self, h: Tensor) -> Tensor:
        """h times the next value."""
        self.values.rotate(1)
        return h * self.values[0]


class Deep(nn.Module):
    """Stochastic depth."""

    def forward(self, h: Tensor) -> Tensor:
        """One addition more, or not."""
        return h + h if random.random() < 0.5 else h


class Functional(nn.Module):
    """Dropout as a function."""

    def forward(self, h: Tensor) -> Tensor:
        """None or twice as much."""
        return F.dropout(h, 0.5)


def hooked() -> nn.Module:
    """A layer whose hook draws."""
    layer = nn.Identity()
    layer.register_forward_hook(lambda module, x, y: y * random.choice(VALUES))
    return layer


def of_numpy() -> Coin:
    """A generator of NumPy's that a forward holds."""
    generator = np.random.default_rng(0)
    return Coin(lambda: generator.random() < 0.5)


def of_torch() -> Coin:
    """A generator of torch's that a forward holds."""
    generator = torch.Generator().manual_seed(0)
    return Coin(lambda: torch.rand((), generator=generator) < 0.5)


def of_python() -> Coin:
    """A generator of Python's that a forward holds."""
    generator = random.Random(0)
    return Coin(lambda: generator.random() < 0.5)


def in_turn() -> Iterator[bool]:
    """A generator with its own state."""
    while True:
        yield from SEVEN


SEVEN = (True, True, False, True, False, False, False)
"""Prime, so that no number of forwards in a meta-gradient brings the same ones to the next."""
COUNTER = itertools.count()


def counted() -> bool:
    """By a global counter."""
    return SEVEN[next(COUNTER) % 7]


def iterated(iterator: Iterator[bool]) -> Coin:
    """A coin that falls as an iterator says."""
    return Coin(functools.partial(next, iterator))


def in_closure() -> Coin:
    """Alternates by a number in a cell."""
    calls = 0

    def toss() -> bool:
        nonlocal calls
        calls += 1
        return SEVEN[calls % 7]

    return Coin(toss)


DRAWS = (
    Draw("Python's random numbers", lambda: Coin(lambda: random.random() < 0.5)),
    Draw("stochastic depth", Deep, (1.0, 2.0)),
    Draw("Python's generator, held", of_python),
    Draw("the system's random numbers", lambda: Coin(lambda: os.urandom(1)[0] % 2 == 0)),
    Draw("a new identifier", lambda: Coin(lambda: uuid.uuid4().int % 2 == 0)),
    Draw("NumPy's random numbers", lambda: Coin(lambda: np.random.rand() < 0.5)),
    Draw("NumPy's generator, held", of_numpy),
    Draw("torch.rand", lambda: Coin(lambda: torch.rand(()) < 0.5)),
    Draw("torch.rand, as a number", lambda: Coin(lambda: torch.rand(()).item() < 0.5)),
    Draw("torch.randint", lambda: Coin(lambda: torch.randint(2, ()) == 0)),
    Draw("torch.bernoulli", lambda: Coin(lambda: torch.bernoulli(torch.full((), 0.5)) == 0)),
    Draw("torch.randperm", lambda: Coin(lambda: torch.randperm(2)[0] == 0)),
    Draw("uniform_", lambda: Coin(lambda: torch.empty(()).uniform_() < 0.5)),
    Draw("torch's generator, held", of_torch),
    Draw("dropout", lambda: nn.Dropout(0.5), (0.0, 2.0)),
    Draw("dropout as a function", Functional, (0.0, 2.0)),
    Draw("the clock", lambda: Coin(lambda: (time.perf_counter_ns() >> 6) % 2 == 0)),
    Draw("a cycle", lambda: iterated(itertools.cycle(SEVEN))),
    Draw("a generator", lambda: iterated(in_turn())),
    Draw("a global counter", lambda: Coin(counted)),
    Draw("a counter in a cell", in_closure),
    Draw("a deque that a forward rolls", Rolling),
    Draw("a counter in an attribute", Counting, remembered=True),
    Draw("a hook that draws", hooked),
    Draw("Python's random numbers in the loss", lambda: Coin(lambda: random.random() < 0.5), in_loss=True),
    Draw("torch.rand in the loss", lambda: Coin(lambda: torch.rand(()) < 0.5), in_loss=True),
    Draw("NumPy's generator in the loss, held", of_numpy, in_loss=True),
)
