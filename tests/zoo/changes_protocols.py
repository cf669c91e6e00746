"""What objects answer by methods of their own, by descriptors, references and memory."""

import ctypes
import functools
import weakref
from collections.abc import Iterator
from unittest.mock import patch

from torch import Tensor

from tests.zoo.changes_objects import Plain
from tests.zoo.records import Change, Net, attribute, done, item, net


class Behind:
    """An object that answers for another one's attributes."""

    def __init__(self, values: dict[str, float]) -> None:
        vars(self)["_values"] = values

    def __getattr__(self, name: str) -> float:
        if name not in vars(self).get("_values", {}):
            raise AttributeError(name)
        return float(vars(self)["_values"][name])


class Indexed:
    """An object with values of its own by index, length, truth, iteration and call."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __getitem__(self, key: object) -> float:
        return self.value

    def __len__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return self.value > 2

    def __iter__(self) -> Iterator[float]:
        return iter([self.value])

    def __call__(self, x: float) -> float:
        return x * self.value

    def __float__(self) -> float:
        return self.value

    def __rmul__(self, other: Tensor) -> Tensor:
        return other * self.value


class Number(float):
    """A float with an attribute."""

    extra = 1.0


class Words(dict[str, float]):
    """A dict with an attribute."""

    scale = 1.0


class Proportional:
    """A descriptor whose value lies on itself."""

    def __init__(self) -> None:
        self.value = 1.0

    def __get__(self, model: object, owner: type) -> float:
        return self.value


class Cached(Net):
    """Computes its factor once."""

    scale = 1.0

    def forget(self, scale: float) -> None:
        """Let the factor be computed again."""
        self.__dict__.pop("cached", None)
        self.scale = scale

    @functools.cached_property
    def cached(self) -> float:
        """The scale when it was first read."""
        return self.scale

    def factor(self) -> float:
        """The cached one."""
        return self.cached


def held_weakly() -> Net:
    """A network that refers weakly to what it reads."""
    model = net(lambda m: m.reference().scale)()
    model.kept = Plain(scale=1.0)
    model.reference = weakref.ref(model.kept)
    return model


CHANGES = (
    Change(
        "what __getattr__ of an object finds",
        net(lambda m: m.options.scale, options=Behind({"scale": 1.0})),
        lambda m, _: item(vars(m.options)["_values"], "scale", 3.0),
    ),
    Change(
        "what __getitem__ of an object finds",
        net(lambda m: m.table["any"], table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "the length of an object",
        net(lambda m: float(len(m.table)), table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "the truth of an object",
        net(lambda m: 3.0 if m.table else 1.0, table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "what an object yields",
        net(lambda m: sum(m.table), table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "what an object that is called reads",
        net(lambda m: m.table(1.0), table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "what an object as a number is",
        net(lambda m: float(m.table), table=Indexed(1.0)),
        lambda m, _: patch.object(m.table, "value", 3.0),
    ),
    Change(
        "an attribute of a float",
        net(lambda m: m.scale.extra, scale=Number(1.0)),
        lambda m, _: patch.object(m.scale, "extra", 3.0),
    ),
    Change(
        "an attribute of a dict",
        net(lambda m: m.words.scale, words=Words()),
        lambda m, _: patch.object(m.words, "scale", 3.0),
    ),
    Change(
        "the value on a descriptor of the class",
        net(lambda m: m.proportion, shared={"proportion": Proportional()}),
        lambda m, _: patch.object(vars(type(m))["proportion"], "value", 3.0),
    ),
    Change(
        "a cached property that is forgotten",
        Cached,
        lambda m, _: done(lambda: m.forget(3.0), lambda: m.forget(1.0)),
    ),
    Change("an object that is referred to weakly", held_weakly, lambda m, _: patch.object(m.kept, "scale", 3.0)),
    Change(
        "a number of ctypes, in place",
        net(lambda m: m.number.value, number=ctypes.c_double(1.0)),
        lambda m, _: attribute(m.number, "value", 3.0),
    ),
)
