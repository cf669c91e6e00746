"""Classes: what lies on them, on their bases and their metaclass, and their methods."""

import sys
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.zoo import elsewhere
from tests.zoo.records import DOUBLE, Build, Change, Net, attribute, done, item, net, sequential


def fresh(kind: type[nn.Module], **attributes: Any) -> Build:
    """Build an instance of a new subclass, so that what is done to its class ends with it."""
    return lambda: type("Fresh", (kind,), dict(attributes))()


class Base(Net):
    """A class whose subclass is used."""

    scale: float = 1.0

    def factor(self) -> Any:
        """The class's, by default."""
        return self.scale

    @property
    def proportion(self) -> float:
        """What a subclass may define anew."""
        return 1.0

    @staticmethod
    def constant() -> float:
        """A static method."""
        return 1.0

    @classmethod
    def of_class(cls) -> float:
        """A class method."""
        return cls.scale


class Middle(Base):
    """Between the base and what is used."""


class Mixin:
    """What may come before the base in the order of resolution."""

    def factor(self) -> float:
        """Another factor."""
        return 3.0


class Indifferent:
    """A base without anything."""


class Mixed(Indifferent, Base):
    """A class whose first base may be replaced."""


class Calling(Base):
    """Reaches its base's method by super()."""

    def factor(self) -> Any:
        """The base's."""
        return super().factor()


class Meta(type):
    """A metaclass with an attribute and a property."""

    scale: ClassVar[float] = 1.0

    @property
    def size(cls) -> float:
        """The metaclass's attribute."""
        return cls.scale


class OfMeta(Net, metaclass=Meta):
    """A class whose class has a property."""

    def factor(self) -> float:
        """The metaclass's property."""
        return type(self).size


class Looking(Net):
    """Finds attributes that it does not have."""

    table: ClassVar[dict[str, float]] = {"scale": 1.0}

    def __getattr__(self, name: str) -> Any:
        return self.table[name] if name in type(self).table else super().__getattr__(name)

    def factor(self) -> Any:
        """What is looked up."""
        return self.scale


class Watching(Net):
    """Answers for its own attributes."""

    changed: ClassVar[list[float]] = []

    def __getattribute__(self, name: str) -> Any:
        if name == "scale" and type(self).changed:
            return type(self).changed[-1]
        return super().__getattribute__(name)

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def factor(self) -> Any:
        """What it says of itself."""
        return self.scale


class Wide(Net):
    """What `__class__` is set to."""

    def factor(self) -> float:
        """Another factor."""
        return 3.0


class Stretched(nn.Tanh):
    """A layer of another class with no attributes of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Thrice."""
        return 3 * super().forward(x)


def with_child() -> nn.Module:
    """A network with a layer of a class that is defined elsewhere."""
    return nn.Sequential(nn.Linear(3, 4), elsewhere.Gain(), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE)


def in_a_module_of_its_own() -> nn.Module:
    """A network whose Python module finds attributes that it does not have."""
    module = ModuleType("made_here")
    values = {"SCALE": 1.0}
    module.__getattr__ = values.__getitem__  # type: ignore[method-assign,assignment]
    model = net(lambda m: m.module.SCALE)()
    model.module, model.values = module, values
    return model


MLP = sequential(lambda: nn.Linear(3, 4), nn.Tanh, lambda: nn.Linear(4, 3))
HERE = sys.modules[__name__]

CHANGES = (
    Change(
        "a class attribute",
        net(lambda m: m.scale, shared={"scale": 1.0}),
        lambda m, _: patch.object(type(m), "scale", 3.0),
    ),
    Change(
        "a class attribute, read by type(self)",
        net(lambda m: type(m).scale, shared={"scale": 1.0}),
        lambda m, _: patch.object(type(m), "scale", 3.0),
    ),
    Change("a base class's attribute", fresh(Middle), lambda m, _: patch.object(Base, "scale", 3.0)),
    Change(
        "an attribute added to a class between",
        fresh(Middle),
        lambda m, _: patch.object(Middle, "scale", 3.0, create=True),
    ),
    Change(
        "a class attribute, read by a class method",
        fresh(Base, factor=lambda m: m.of_class()),
        lambda m, _: patch.object(Base, "scale", 3.0),
    ),
    Change(
        "a dict of a class, in place",
        net(lambda m: m.table["scale"], shared={"table": {"scale": 1.0}}),
        lambda m, _: item(m.table, "scale", 3.0),
    ),
    Change(
        "an attribute of another class",
        net(lambda m: elsewhere.Settings.scale),
        lambda m, _: patch.object(elsewhere.Settings, "scale", 3.0),
    ),
    Change(
        "a dict of another class, in place",
        net(lambda m: elsewhere.Settings.nested["scale"]),
        lambda m, _: item(elsewhere.Settings.nested, "scale", 3.0),
    ),
    Change(
        "a method of the class replaced",
        net(lambda m: 1.0),
        lambda m, _: patch.object(type(m), "factor", lambda m: 3.0),
    ),
    Change(
        "a method of a base class replaced", fresh(Middle), lambda m, _: patch.object(Base, "factor", lambda m: 3.0)
    ),
    Change(
        "a method reached by super() replaced", fresh(Calling), lambda m, _: patch.object(Base, "factor", lambda m: 3.0)
    ),
    Change(
        "the class's forward replaced",
        net(lambda m: 1.0),
        lambda m, _: patch.object(type(m), "forward", lambda m, x: m.b(torch.sin(m.a(x))), create=True),
    ),
    Change(
        "the instance's forward replaced",
        net(lambda m: 1.0),
        lambda m, _: patch.object(m, "forward", lambda x: m.b(torch.sin(m.a(x)))),
        telling=True,
    ),
    Change("a child's forward replaced", MLP, lambda m, _: patch.object(m[1], "forward", torch.sin)),
    Change(
        "torch's forward of a layer replaced", MLP, lambda m, _: patch.object(nn.Tanh, "forward", lambda _, x: x.sin())
    ),
    Change(
        "the class's __call__ replaced",
        net(lambda m: 1.0),
        lambda m, _: patch.object(type(m), "__call__", lambda m, x: 3 * m.forward(x), create=True),
    ),
    Change("a method on the instance", net(lambda m: 1.0), lambda m, _: patch.object(m, "factor", lambda: 3.0)),
    Change(
        "the getter of a property",
        fresh(Base, factor=lambda m: m.proportion),
        lambda m, _: patch.object(Base, "proportion", property(lambda _: 3.0)),
    ),
    Change(
        "a static method",
        fresh(Base, factor=lambda m: m.constant()),
        lambda m, _: patch.object(Base, "constant", staticmethod(lambda: 3.0)),
    ),
    Change("a base replaced", Mixed, lambda m, _: attribute(Mixed, "__bases__", (Mixin, Base))),
    Change("the class assigned", net(lambda m: 1.0), lambda m, _: attribute(m, "__class__", Wide)),
    Change("a child's class assigned", MLP, lambda m, _: attribute(m[1], "__class__", Stretched)),
    Change("an attribute of the metaclass", OfMeta, lambda m, _: patch.object(Meta, "scale", 3.0)),
    Change("a property of the metaclass", OfMeta, lambda m, _: patch.object(Meta, "size", property(lambda _: 3.0))),
    Change("what the network's __getattr__ finds", fresh(Looking), lambda m, _: item(Looking.table, "scale", 3.0)),
    Change(
        "what the network's __getattribute__ finds",
        fresh(Watching),
        lambda m, _: done(lambda: Watching.changed.append(3.0), Watching.changed.clear),
    ),
    Change(
        "what a Python module's __getattr__ finds", in_a_module_of_its_own, lambda m, _: item(m.values, "SCALE", 3.0)
    ),
    Change("a global that a child's forward reads", with_child, lambda m, _: patch.object(elsewhere, "SCALE", 3.0)),
    Change("an attribute of a child's class", with_child, lambda m, _: patch.object(elsewhere.Gain, "power", 3.0)),
    Change(
        "a class attribute of torch's",
        net(lambda m: 1.0 + float(m.training) * getattr(nn.Tanh, "zoo", 0.0)),
        lambda m, _: patch.object(nn.Tanh, "zoo", 2.0, create=True),
    ),
    Change(
        "a class for one of the same name in the globals",
        net(lambda m: Chosen.scale),
        lambda m, _: patch.object(HERE, "Chosen", Other),
    ),
)


class Chosen:
    """What a global name means."""

    scale = 1.0


class Other:
    """What it means afterwards."""

    scale = 3.0
