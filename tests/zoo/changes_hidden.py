"""What guards are prone to overlook: the same address, equal but other objects, what is large, deep or unwilling."""

import datetime
import functools
import re
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.changes_objects import Plain
from tests.zoo.records import DOUBLE, Change, Net, attribute, done, filled, item, net

TABLE = {"scale": 1.0}


class Agreeing(Plain):
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Unwilling(Plain):
    """Can be neither compared, nor hashed, nor copied, nor shown."""

    __hash__ = None  # type: ignore[assignment]

    def refuse(self, *_: object) -> Any:
        """Whatever is asked."""
        raise TypeError("this is not to be asked")

    __eq__ = __repr__ = __reduce_ex__ = __deepcopy__ = __copy__ = refuse


class Lying(Plain):
    """Says that it is a number."""

    @property
    def __class__(self) -> Any:
        return float

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError("this has no other class")


class Quiet(float):
    """A number that equals all others."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Link:
    """One link of a long chain."""

    def __init__(self, following: "Link | None", value: float) -> None:
        self.following, self.value = following, value


@functools.lru_cache(None)
def remembered() -> float:
    """A global, when it was first asked for."""
    return TABLE["scale"]


def forgotten(scale: float) -> None:
    """Change the global, and let it be asked for again."""
    TABLE["scale"] = scale
    remembered.cache_clear()


def of_list(values: list[float] = [1.0]) -> float:  # noqa: B006
    """A default that can be changed in place."""
    return values[0]


def holding(**attributes: Callable[[], Any]) -> Callable[[Callable[[Any], Any]], Callable[[], Net]]:
    """Build a network with attributes that cannot be copied."""

    def of(factor: Callable[[Any], Any]) -> Callable[[], Net]:
        def build() -> Net:
            model = net(factor)()
            for name, make in attributes.items():
                setattr(model, name, make())
            return model

        return build

    return of


def last(chain: Link | None) -> float:
    """The value at the end."""
    value = 0.0
    while chain is not None:
        value, chain = chain.value, chain.following
    return value


def chain() -> Link:
    """Three thousand links."""
    link = Link(None, 1.0)
    for _ in range(3000):
        link = Link(link, 0.0)
    return link


def end_of(chain: Link) -> Link:
    """The last link."""
    while chain.following is not None:
        chain = chain.following
    return chain


def nested() -> list[Any]:
    """Lists in lists, three hundred deep."""
    value: list[Any] = [1.0]
    for _ in range(300):
        value = [value]
    return value


def innermost(value: Any) -> Any:
    """The list within."""
    while isinstance(value[0], list):
        value = value[0]
    return value


class Teacher(Net):
    """A network with a teacher that is no child, as a moving average is kept."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "teacher", nn.Linear(3, 4, dtype=DOUBLE))

    def forward(self, x: Tensor) -> Tensor:
        """As Net's, plus what the teacher says."""
        with torch.no_grad():
            target = self.teacher(x)
        return self.b(torch.tanh(self.a(x)) * target)  # type: ignore[no-any-return]


CHANGES = (
    Change(
        "an object that equals everything",
        net(lambda m: m.options.scale, options=Agreeing(scale=1.0)),
        lambda m, _: patch.object(m, "options", Agreeing(scale=3.0)),
    ),
    Change(
        "a number that equals everything",
        net(lambda m: float(m.scale), scale=Quiet(1.0)),
        lambda m, _: patch.object(m, "scale", Quiet(3.0)),
    ),
    Change(
        "an attribute of an unwilling object",
        holding(options=lambda: Unwilling(scale=1.0))(lambda m: m.options.scale),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "an attribute of an object that lies about its class",
        holding(options=lambda: Lying(scale=1.0))(lambda m: m.options.scale),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "an attribute of a mock",
        holding(options=lambda: Mock(scale=1.0))(lambda m: m.options.scale),
        lambda m, _: attribute(m.options, "scale", 3.0),
    ),
    Change(
        "what a mock returns",
        holding(options=lambda: Mock(return_value=1.0))(lambda m: m.options()),
        lambda m, _: attribute(m.options, "return_value", 3.0),
    ),
    Change(
        "the last of many elements",
        net(lambda m: m.scales[-1], scales=[1.0] * 20_000),
        lambda m, _: item(m.scales, -1, 3.0),
    ),
    Change(
        "one of many values",
        net(lambda m: m.known[12_345], known=dict.fromkeys(range(20_000), 1.0)),
        lambda m, _: item(m.known, 12_345, 3.0),
    ),
    Change(
        "one element of a large array",
        net(lambda m: float(m.scales[123_457]), scales=np.ones(300_000)),
        lambda m, _: item(m.scales, 123_457, 3.0),
    ),
    Change(
        "one element of a large tensor",
        net(lambda m: m.scales[123_457], scales=torch.ones(300_000, dtype=DOUBLE)),
        lambda m, _: filled(m.scales[123_457:123_458], 3.0),
    ),
    Change(
        "the end of a long chain",
        holding(chain=chain)(lambda m: last(m.chain)),
        lambda m, _: patch.object(end_of(m.chain), "value", 3.0),
    ),
    Change(
        "the innermost of many lists",
        holding(lists=nested)(lambda m: innermost(m.lists)[0]),
        lambda m, _: item(innermost(m.lists), 0, 3.0),
    ),
    Change(
        "an object in an array of objects",
        net(lambda m: m.known[0].scale, known=np.array([Plain(scale=1.0)], dtype=object)),
        lambda m, _: patch.object(m.known[0], "scale", 3.0),
    ),
    Change(
        "a field of a structured array",
        net(lambda m: float(m.known["y"][0]), known=np.array([(1, 1.0)], dtype=[("x", int), ("y", float)])),
        lambda m, _: item(m.known["y"], 0, 3.0),
    ),
    Change(
        "what a weak dictionary holds",
        holding(known=weakref.WeakValueDictionary, kept=lambda: Plain(scale=3.0))(
            lambda m: m.known["x"].scale if "x" in m.known else 1.0
        ),
        lambda m, _: done(lambda: m.known.update(x=m.kept), m.known.clear),
    ),
    Change(
        "a memory view",
        holding(view=lambda: memoryview(bytearray(b"\1")))(lambda m: m.view[0]),
        lambda m, _: item(m.view, 0, 3),
    ),
    Change(
        "a pattern",
        net(lambda m: 3.0 if m.pattern.match("wide") else 1.0, pattern=re.compile("deep")),
        lambda m, _: patch.object(m, "pattern", re.compile("w.*")),
    ),
    Change(
        "a date",
        net(lambda m: float(m.date.day), date=datetime.date(2020, 1, 1)),
        lambda m, _: patch.object(m, "date", datetime.date(2020, 1, 3)),
    ),
    Change(
        "a dtype of NumPy's",
        net(lambda m: m.kind.itemsize / 4, kind=np.dtype("f4")),
        lambda m, _: patch.object(m, "kind", np.dtype("c16")),
    ),
    Change(
        "the seed of a generator",
        holding(generator=lambda: torch.Generator().manual_seed(1))(lambda m: float(m.generator.initial_seed())),
        lambda m, _: done(lambda: m.generator.manual_seed(3), lambda: m.generator.manual_seed(1)),
    ),
    Change(
        "a generator's state, which is only looked at",
        net(lambda m: 1.0 + m.generator.bit_generator.state["state"]["state"] % 7, generator=np.random.default_rng(0)),
        lambda m, _: done(lambda: m.generator.random()),
    ),
    Change(
        "a default that is changed in place",
        net(lambda m: of_list()),
        lambda m, _: item((of_list.__defaults__ or ())[0], 0, 3.0),
    ),
    Change(
        "a cached function that forgets",
        net(lambda m: remembered()),
        lambda m, _: done(lambda: forgotten(3.0), lambda: forgotten(1.0)),
    ),
    Change("a teacher that is no child", Teacher, lambda m, _: filled(m.teacher.weight, 2.0)),
)
