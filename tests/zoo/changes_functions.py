"""Functions that a forward calls, and what they read: cells, defaults, globals, code."""

import functools
import math
import operator
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo.records import Change, Net, attribute, done, item, net

HERE = sys.modules[__name__]
SCALE = 1.0
TABLE = {"scale": 1.0}
NAMES: list[float] = [1.0]


def scale() -> float:
    """A global."""
    return SCALE


def two_calls_down() -> float:
    """A global, read by what this calls."""
    return helper()


def helper() -> float:
    """A global, by way of another function."""
    return scale()


def default(value: float = 1.0) -> float:
    """Its default."""
    return value


def keyword(*, value: float = 1.0) -> float:
    """The default of its keyword."""
    return value


def noted() -> float:
    """An attribute of itself."""
    return noted.scale  # type: ignore[attr-defined,no-any-return]


noted.scale = 1.0  # type: ignore[attr-defined]


def three() -> float:
    """Another function's code."""
    return 3.0


def one() -> float:
    """The code to be replaced."""
    return 1.0


def counting(value: float) -> tuple[Callable[[], float], Callable[[float], None]]:
    """A function that reads a cell, and one that writes it."""

    def read() -> float:
        return value

    def write(other: float) -> None:
        nonlocal value
        value = other

    return read, write


def wrapped(function: Callable[..., float]) -> Callable[..., float]:
    """A decorated function."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> float:
        return function(*args) * SCALE

    return wrapper


@wrapped
def decorated() -> float:
    """What is decorated reads nothing."""
    return 1.0


@functools.singledispatch
def dispatched(value: object) -> float:
    """By type."""
    return 1.0


def recursive(depth: int) -> float:
    """A global, read at the bottom."""
    return recursive(depth - 1) if depth else SCALE


def made_of_text() -> Net:
    """A network whose factor has globals of its own."""
    space: dict[str, Any] = {"SCALE": 1.0}
    exec("def factor(self):\n    return SCALE", space)
    model = net(space["factor"])()
    model.space = space
    return model


def with_cell() -> Net:
    """A network whose factor reads a cell."""
    read, write = counting(1.0)
    model = net(lambda m: read())()
    model.write = write
    return model


def with_cell_of_list() -> Net:
    """A network whose class holds a list in a cell."""
    values = [1.0]
    model = net(lambda m: values[0])()
    model.set = values.__setitem__
    return model


def with_generator() -> Net:
    """A network that sums what a generator expression yields over a list in a cell."""
    values = [1.0]
    model = net(lambda m: sum(v for v in values))()
    model.values = values
    return model


class Others:
    """An object with a method that a network holds bound."""

    def __init__(self) -> None:
        self.scale = 1.0

    def read(self) -> float:
        """Its attribute."""
        return self.scale


def with_bound_method() -> Net:
    """A network that holds a bound method of another object."""
    return net(lambda m: m.read(), read=Others().read)()


def partial_in_place() -> Net:
    """A network with a partial function."""
    return net(lambda m: m.function(), function=functools.partial(default, value=1.0))()


class Activated(Net):
    """A network whose activation is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.activation: Callable[[Tensor], Tensor] = torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        """As Net's, with its activation."""
        return self.b(self.activation(self.a(x)))  # type: ignore[no-any-return]


class Relu(Net):
    """A network that calls what torch.nn.functional holds."""

    def forward(self, x: Tensor) -> Tensor:
        """As Net's, with a leaky ReLU."""
        return self.b(F.leaky_relu(self.a(x)))  # type: ignore[no-any-return]


CHANGES = (
    Change("an activation", Activated, lambda m, _: patch.object(m, "activation", torch.sin)),
    Change("an activation, by a lambda", Activated, lambda m, _: patch.object(m, "activation", lambda x: 2 * x.sin())),
    Change(
        "a cell of a closure", with_cell, lambda m, _: done(lambda: m.write(3.0), lambda: m.write(1.0)), telling=True
    ),
    Change("a list in a cell", with_cell_of_list, lambda m, _: done(lambda: m.set(0, 3.0), lambda: m.set(0, 1.0))),
    Change("a list that a generator expression goes through", with_generator, lambda m, _: item(m.values, 0, 3.0)),
    Change("a default", net(lambda m: default()), lambda m, _: patch.object(default, "__defaults__", (3.0,))),
    Change(
        "a keyword's default",
        net(lambda m: keyword()),
        lambda m, _: item(keyword.__kwdefaults__, "value", 3.0),
    ),
    Change("a global", net(lambda m: SCALE), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change("a global, read by a function", net(lambda m: scale()), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change(
        "a global, read two calls down", net(lambda m: two_calls_down()), lambda m, _: patch.object(HERE, "SCALE", 3.0)
    ),
    Change("a global, read by recursion", net(lambda m: recursive(3)), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change("a global, read by name", net(lambda m: globals()["SCALE"]), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change("a global, read by eval", net(lambda m: eval("SCALE")), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change("a dict in a global", net(lambda m: TABLE["scale"]), lambda m, _: item(TABLE, "scale", 3.0)),
    Change("a list in a global", net(lambda m: max(NAMES)), lambda m, _: item(NAMES, 0, 3.0)),
    Change("a global function replaced", net(lambda m: scale()), lambda m, _: patch.object(HERE, "scale", three)),
    Change("a global that hides a builtin", net(lambda m: max(1.0, 0.0)), lambda m, _: _hidden("max", lambda *_: 3.0)),
    Change("a global of a function made of text", made_of_text, lambda m, _: item(m.space, "SCALE", 3.0)),
    Change("a wrapper's global", net(lambda m: decorated()), lambda m, _: patch.object(HERE, "SCALE", 3.0)),
    Change("an attribute of a function", net(lambda m: noted()), lambda m, _: patch.object(noted, "scale", 3.0)),
    Change("a function's code", net(lambda m: one()), lambda m, _: attribute(one, "__code__", three.__code__)),
    Change(
        "a lambda in a dict",
        net(lambda m: m.table["f"](), table={"f": lambda: 1.0}),
        lambda m, _: item(m.table, "f", lambda: 3.0),
    ),
    Change(
        "a lambda for one of the same code and another default",
        net(lambda m: m.function(), function=lambda value=1.0: value),
        lambda m, _: patch.object(m, "function", FunctionType(m.function.__code__, globals(), "f", (3.0,))),
    ),
    Change("a partial's keyword", partial_in_place, lambda m, _: item(m.function.keywords, "value", 3.0)),
    Change(
        "a partial replaced",
        net(lambda m: m.function(2.0), function=functools.partial(operator.mul, 1.0)),
        lambda m, _: patch.object(m, "function", functools.partial(operator.mul, 3.0)),
    ),
    Change(
        "what a bound method of another object reads",
        with_bound_method,
        lambda m, _: patch.object(m.read.__self__, "scale", 3.0),
        telling=True,
    ),
    Change(
        "another object's bound method",
        net(lambda m: m.get("scale"), get={"scale": 1.0}.get),
        lambda m, _: item(m.get.__self__, "scale", 3.0),
    ),
    Change(
        "a function that is registered for a type",
        net(lambda m: dispatched(m)),
        lambda m, _: done(
            lambda: dispatched.register(Net, lambda _: 3.0), lambda: dispatched.register(Net, lambda _: 1.0)
        ),
    ),
    Change(
        "a function of Python's library",
        net(lambda m: math.sqrt(4.0)),
        lambda m, _: patch.object(math, "sqrt", lambda _: 9.0),
    ),
    Change(
        "a function of torch.nn.functional",
        Relu,
        lambda m, _: patch.object(F, "leaky_relu", torch.sin),
    ),
)


def _hidden(name: str, value: object) -> Any:
    return done(lambda: setattr(HERE, name, value), lambda: delattr(HERE, name))
