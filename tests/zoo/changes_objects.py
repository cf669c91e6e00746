"""Objects of the user's own that a forward reads from: what lies on them, in them and behind them."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch

import torch
from torch import nn

from tests.zoo.records import DOUBLE, Change, Net, attribute, done, filled, item, net


class Plain:
    """An object with what attributes it is built with."""

    scale: float

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def double(self) -> float:
        """What a bound method reads."""
        return 2.0 * self.scale


class Doubled(Plain):
    """The same attributes, read in another way."""

    def double(self) -> float:
        """Another factor."""
        return 6.0 * self.scale


class Slotted:
    """An object without a dict."""

    __slots__ = ("inner", "scale")

    def __init__(self, scale: float) -> None:
        self.scale = scale


@dataclass
class Options:
    """Options that are equal where their values are."""

    scale: float = 1.0
    nested: Slotted = field(default_factory=lambda: Slotted(1.0))
    notes: list[float] = field(default_factory=lambda: [1.0])


@dataclass(frozen=True)
class Frozen:
    """Options that are replaced as a whole."""

    scale: float


class Pair(NamedTuple):
    """Two numbers by name."""

    scale: float
    other: float


class Registry:
    """Instances by name."""

    known: ClassVar[dict[str, Plain]] = {"default": Plain(scale=1.0)}


def circle() -> Plain:
    """An object that refers to itself."""
    found = Plain(scale=1.0)
    vars(found)["itself"] = found
    return found


def hidden_layer() -> Net:
    """A network with a layer in a plain list, so that it is no child."""
    model = net(lambda m: m.layers[0](torch.ones(1, 4, dtype=DOUBLE)))()
    model.layers = [nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), nn.Dropout(1.0).eval(), nn.LeakyReLU(1.0))]
    return model


class Local(threading.local):
    """Other values in each thread."""

    scale = 1.0


LOCAL = Local()

CHANGES = (
    Change(
        "an attribute of an object",
        net(lambda m: m.options.scale, options=Plain(scale=1.0)),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "an attribute of an object, read by its method",
        net(lambda m: m.options.double(), options=Plain(scale=1.0)),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "an object's class assigned",
        net(lambda m: m.options.double(), options=Plain(scale=1.0)),
        lambda m, _: attribute(m.options, "__class__", Doubled),
    ),
    Change(
        "an object's dict replaced",
        net(lambda m: m.options.scale, options=Plain(scale=1.0)),
        lambda m, _: attribute(m.options, "__dict__", {"scale": 3.0}),
    ),
    Change(
        "an object replaced by one of the same type",
        net(lambda m: m.options.scale, options=Plain(scale=1.0)),
        lambda m, _: patch.object(m, "options", Plain(scale=3.0)),
    ),
    Change(
        "an object replaced by one of the same form",
        net(lambda m: m.options.double(), options=Plain(scale=1.0)),
        lambda m, _: patch.object(m, "options", Doubled(scale=1.0)),
    ),
    Change(
        "an attribute of a dataclass",
        net(lambda m: m.options.scale, options=Options()),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "a slot of an object of a dataclass",
        net(lambda m: m.options.nested.scale, options=Options()),
        lambda m, _: patch.object(m.options.nested, "scale", 3.0),
    ),
    Change(
        "a list of a dataclass",
        net(lambda m: m.options.notes[-1], options=Options()),
        lambda m, _: done(lambda: m.options.notes.append(3.0), m.options.notes.pop),
    ),
    Change(
        "a frozen dataclass replaced",
        net(lambda m: m.options.scale, options=Frozen(1.0)),
        lambda m, _: patch.object(m, "options", Frozen(3.0)),
    ),
    Change(
        "a NamedTuple replaced",
        net(lambda m: m.options.scale, options=Pair(1.0, 3.0)),
        lambda m, _: patch.object(m, "options", m.options._replace(scale=3.0)),
    ),
    Change(
        "a NamedTuple for an equal tuple",
        net(lambda m: m.options.scale if hasattr(m.options, "scale") else 3.0, options=(1.0, 3.0)),
        lambda m, _: patch.object(m, "options", Pair(1.0, 3.0)),
    ),
    Change(
        "an attribute of a SimpleNamespace",
        net(lambda m: m.options.inner.scale, options=SimpleNamespace(inner=SimpleNamespace(scale=1.0))),
        lambda m, _: patch.object(m.options.inner, "scale", 3.0),
    ),
    Change(
        "a slot", net(lambda m: m.slots.scale, slots=Slotted(1.0)), lambda m, _: patch.object(m.slots, "scale", 3.0)
    ),
    Change(
        "a slot that was empty",
        net(lambda m: getattr(m.slots, "inner", 1.0), slots=Slotted(1.0)),
        lambda m, _: done(lambda: setattr(m.slots, "inner", 3.0), lambda: delattr(m.slots, "inner")),
    ),
    Change(
        "an attribute of an object in a list in a dict",
        net(lambda m: m.known["x"][1].scale, known={"x": [None, Plain(scale=1.0)]}),
        lambda m, _: patch.object(m.known["x"][1], "scale", 3.0),
    ),
    Change(
        "an attribute of an object four objects away",
        net(lambda m: m.a1.b.c.d.scale, a1=Plain(b=Plain(c=Plain(d=Plain(scale=1.0))))),
        lambda m, _: patch.object(m.a1.b.c.d, "scale", 3.0),
    ),
    Change(
        "an attribute of an object that refers to itself",
        net(lambda m: m.options.itself.itself.scale, options=circle()),
        lambda m, _: patch.object(m.options, "scale", 3.0),
    ),
    Change(
        "an object in a registry",
        net(lambda m: Registry.known["default"].scale),
        lambda m, _: patch.object(Registry.known["default"], "scale", 3.0),
    ),
    Change(
        "another object in a registry",
        net(lambda m: Registry.known["default"].scale),
        lambda m, _: item(Registry.known, "default", Plain(scale=3.0)),
    ),
    Change("a weight of a layer that is no child", hidden_layer, lambda m, _: filled(m.layers[0][0].weight, 2.0)),
    Change(
        "the mode of a layer that is no child",
        hidden_layer,
        lambda m, _: done(m.layers[0][1].train, m.layers[0][1].eval),
    ),
    Change(
        "a rate of a layer that is no child",
        hidden_layer,
        lambda m, _: patch.object(m.layers[0][2], "negative_slope", 9.0),
    ),
    Change("a value of this thread", net(lambda m: LOCAL.scale), lambda m, _: patch.object(LOCAL, "scale", 3.0)),
)
