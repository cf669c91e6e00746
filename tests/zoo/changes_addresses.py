"""Other objects at the address of those before, and other parts of the same memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch

from tests.zoo.changes_objects import Plain
from tests.zoo.records import DOUBLE, Change, Net, done, net


def readdressed(model: Any, name: str, make: Callable[[], Any]) -> AbstractContextManager[None]:
    """Another object, at the address of the one before if nobody keeps that."""
    address, made = id(getattr(model, name)), []
    delattr(model, name)
    for _ in range(100):
        made.append(make())
        if id(made[-1]) == address:
            break
    setattr(model, name, made.pop())
    return done(lambda: None)


CHANGES = (
    Change(
        "an object at the address of the one before",
        net(lambda m: m.options.scale, options=Plain(scale=1.0)),
        lambda m, _: readdressed(m, "options", lambda: Plain(scale=3.0)),
    ),
    Change(
        "a tuple at the address of the one before",
        net(lambda m: m.pair[0], pair=(1.0, [])),
        lambda m, _: readdressed(m, "pair", lambda: (3.0, [])),
    ),
    Change(
        "a lambda at the address of the one before",
        net(lambda m: m.function(), function=lambda: 1.0),
        lambda m, _: readdressed(m, "function", lambda: lambda: 3.0),
    ),
    Change(
        "a tensor at the address of the one before",
        net(lambda m: m.tensor, tensor=torch.ones(4, dtype=DOUBLE)),
        lambda m, _: readdressed(m, "tensor", lambda: torch.full((4,), 3.0, dtype=DOUBLE)),
    ),
    Change("another part of the same memory", lambda: _part(), lambda m, _: patch.object(m, "part", m.table[:, 1])),
    Change(
        "other strides in the same memory",
        lambda: _part(),
        lambda m, _: patch.object(m, "part", m.table.view(-1)[::2][:4]),
    ),
)


def _part() -> Net:
    model = net(lambda m: m.part)()
    model.table = torch.arange(12, dtype=DOUBLE).view(4, 3)
    model.part = model.table[:, 0]
    return model
