"""Attributes of the module, of every type that a forward may read."""

import array
import decimal
import enum
import fractions
import math
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from types import MappingProxyType
from unittest.mock import patch

import numpy as np
import torch

from tests.zoo.records import Change, done, item, net


class Mode(enum.Enum):
    """How wide."""

    NARROW = 1.0
    WIDE = 3.0


class Bits(enum.IntFlag):
    """What is on."""

    ONE = 1
    TWO = 2


CHANGES = (
    Change("a number", net(lambda m: m.scale, scale=1.0), lambda m, _: patch.object(m, "scale", 3.0)),
    Change("an exponent", net(lambda m: 2.0**m.depth, depth=0), lambda m, _: patch.object(m, "depth", 2)),
    Change(
        "a number of repetitions",
        net(lambda m: sum(0.5 for _ in range(m.times)), times=1),
        lambda m, _: patch.object(m, "times", 4),
    ),
    Change("a flag", net(lambda m: 3.0 if m.wide else 1.0, wide=False), lambda m, _: patch.object(m, "wide", True)),
    Change(
        "a word",
        net(lambda m: {"sum": 3.0, "mean": 1.0}[m.reduction], reduction="mean"),
        lambda m, _: patch.object(m, "reduction", "sum"),
    ),
    Change(
        "a value in a dict",
        net(lambda m: m.options["scale"], options={"scale": 1.0}),
        lambda m, _: item(m.options, "scale", 3.0),
        telling=True,
    ),
    Change(
        "a key added to a dict",
        net(lambda m: m.options.get("scale", 1.0), options={}),
        lambda m, _: patch.dict(m.options, scale=3.0),
    ),
    Change(
        "a value in a nested dict",
        net(lambda m: m.options["layer"][0]["scale"], options={"layer": [{"scale": 1.0}]}),
        lambda m, _: item(m.options["layer"][0], "scale", 3.0),
    ),
    Change(
        "the order of a dict",
        net(lambda m: next(iter(m.options.values())), options={"one": 1.0, "three": 3.0}),
        lambda m, _: done(lambda: m.options.update(one=m.options.pop("one"))),
    ),
    Change(
        "the order of an OrderedDict",
        net(lambda m: next(iter(m.options.values())), options=OrderedDict(one=1.0, three=3.0)),
        lambda m, _: done(lambda: m.options.move_to_end("one"), lambda: m.options.move_to_end("three")),
    ),
    Change(
        "a default of a defaultdict",
        net(lambda m: m.options["scale"], options=defaultdict(lambda: 1.0)),
        lambda m, _: done(lambda: m.options.update(scale=3.0), m.options.clear),
    ),
    Change(
        "a map of a ChainMap",
        net(lambda m: m.options["scale"], options=ChainMap({}, {"scale": 1.0})),
        lambda m, _: patch.dict(m.options.maps[0], scale=3.0),
    ),
    Change(
        "a Counter",
        net(lambda m: 1.0 + m.counts["x"], counts=Counter("y")),
        lambda m, _: item(m.counts, "x", 2),
    ),
    Change("an element of a list", net(lambda m: m.scales[1], scales=[0.0, 1.0]), lambda m, _: item(m.scales, 1, 3.0)),
    Change(
        "the length of a list",
        net(lambda m: float(len(m.names)), names=["x"]),
        lambda m, _: done(lambda: m.names.extend("yz"), lambda: m.names.__delitem__(slice(1, 3))),
    ),
    Change(
        "the order of a list",
        net(lambda m: m.scales[0] / m.scales[1], scales=[1.0, 3.0]),
        lambda m, _: done(m.scales.reverse, m.scales.reverse),
    ),
    Change(
        "a tuple replaced", net(lambda m: m.pair[0], pair=(1.0, 1.0)), lambda m, _: patch.object(m, "pair", (3.0, 1.0))
    ),
    Change(
        "a list in a tuple",
        net(lambda m: m.pair[0][0], pair=([1.0], 2.0)),
        lambda m, _: item(m.pair[0], 0, 3.0),
    ),
    Change(
        "an element of a set",
        net(lambda m: 3.0 if "wide" in m.flags else 1.0, flags={"deep"}),
        lambda m, _: done(lambda: m.flags.add("wide"), lambda: m.flags.discard("wide")),
    ),
    Change(
        "a frozenset replaced",
        net(lambda m: 1.0 + len(m.flags), flags=frozenset("a")),
        lambda m, _: patch.object(m, "flags", frozenset("abc")),
    ),
    Change(
        "an element of a deque",
        net(lambda m: m.recent[-1], recent=deque([1.0], maxlen=4)),
        lambda m, _: done(lambda: m.recent.append(3.0), m.recent.pop),
    ),
    Change(
        "a member of an Enum",
        net(lambda m: m.mode.value, mode=Mode.NARROW),
        lambda m, _: patch.object(m, "mode", Mode.WIDE),
    ),
    Change(
        "a flag of an IntFlag",
        net(lambda m: 3.0 if Bits.TWO in m.bits else 1.0, bits=Bits.ONE),
        lambda m, _: patch.object(m, "bits", Bits.ONE | Bits.TWO),
    ),
    Change(
        "a NumPy number",
        net(lambda m: float(m.scale), scale=np.float32(1.0)),
        lambda m, _: patch.object(m, "scale", np.float32(3.0)),
    ),
    Change(
        "a NumPy array, in place",
        net(lambda m: float(m.scales[0, 1]), scales=np.ones((2, 2))),
        lambda m, _: item(m.scales, (0, 1), 3.0),
    ),
    Change(
        "a NumPy array, through a view",
        net(lambda m: float(m.scales.sum()), scales=np.ones(2)),
        lambda m, _: item(m.scales[1:], 0, 5.0),
    ),
    Change(
        "a NumPy array replaced by one of another shape",
        net(lambda m: float(m.scales.size), scales=np.zeros(1)),
        lambda m, _: patch.object(m, "scales", np.zeros((1, 3))),
    ),
    Change(
        "True for an equal int",
        net(lambda m: 3.0 if m.flag is True else 1.0, flag=1),
        lambda m, _: patch.object(m, "flag", True),
    ),
    Change(
        "a float for an equal int",
        net(lambda m: 3.0 if torch.tensor(m.count).is_floating_point() else 1.0, count=2),
        lambda m, _: patch.object(m, "count", 2.0),
    ),
    Change(
        "a NumPy number for an equal float",
        net(lambda m: 3.0 if isinstance(m.scale, np.generic) else 1.0, scale=1.0),
        lambda m, _: patch.object(m, "scale", np.float64(1.0)),
    ),
    Change(
        "-0.0 for 0.0",
        net(lambda m: 2.0 + math.copysign(1.0, m.zero), zero=0.0),
        lambda m, _: patch.object(m, "zero", -0.0),
        telling=True,
    ),
    Change(
        "-0.0 for 0.0, in a tuple",
        net(lambda m: 2.0 + math.copysign(1.0, m.range[0]), range=(0.0, 1.0)),
        lambda m, _: patch.object(m, "range", (-0.0, 1.0)),
    ),
    Change(
        "a float for an equal int, in a dict",
        net(lambda m: 3.0 if isinstance(m.options["count"], float) else 1.0, options={"count": 2}),
        lambda m, _: item(m.options, "count", 2.0),
    ),
    Change(
        "NaN for a number",
        net(lambda m: 3.0 if math.isnan(m.limit) else 1.0, limit=0.0),
        lambda m, _: patch.object(m, "limit", math.nan),
    ),
    Change(
        "a number for NaN",
        net(lambda m: 3.0 if math.isnan(m.limit) else 1.0, limit=math.nan),
        lambda m, _: patch.object(m, "limit", 0.0),
    ),
    Change(
        "the last bit of a number",
        net(lambda m: 1.0 + (m.scale - 1.0) * 2.0**53, scale=1.0),
        lambda m, _: patch.object(m, "scale", math.nextafter(1.0, 2.0)),
    ),
    Change(
        "None and a number swapped",
        net(lambda m: 1 / m.down if m.up is None else m.up, up=None, down=3.0),
        lambda m, _: patch.multiple(m, up=3.0, down=None),
        telling=True,
    ),
    Change(
        "an attribute deleted, so that the class's shows",
        net(lambda m: m.scale, shared={"scale": 3.0}, scale=1.0),
        lambda m, _: done(lambda: delattr(m, "scale"), lambda: setattr(m, "scale", 1.0)),
    ),
    Change(
        "an attribute added, which hides the class's",
        net(lambda m: m.scale, shared={"scale": 1.0}),
        lambda m, _: patch.object(m, "scale", 3.0),
    ),
    Change(
        "an attribute added, which hasattr looks for",
        net(lambda m: 3.0 if hasattr(m, "wide") else 1.0),
        lambda m, _: patch.object(m, "wide", None, create=True),
    ),
    Change(
        "an attribute of equal value under another name",
        net(lambda m: m.times if "times" in vars(m) else 1 / m.over, over=3.0),
        lambda m, _: done(
            lambda: setattr(m, "times", m.__dict__.pop("over")), lambda: setattr(m, "over", m.__dict__.pop("times"))
        ),
        telling=True,
    ),
    Change(
        "values swapped between two layers of one type",
        lambda: _gains(),
        lambda m, _: patch.multiple(m.a, gain=3.0, loss=1.0),
    ),
    Change("a complex number", net(lambda m: m.phase.imag, phase=1j), lambda m, _: patch.object(m, "phase", 3j)),
    Change(
        "a dtype",
        net(lambda m: float(torch.tensor(1.5, dtype=m.kind)), kind=torch.int64),
        lambda m, _: patch.object(m, "kind", torch.float64),
    ),
    Change(
        "a slice",
        net(lambda m: sum([1.0, 2.0, 4.0][m.part]), part=slice(1)),
        lambda m, _: patch.object(m, "part", slice(0, 3, 2)),
    ),
    Change("a range", net(lambda m: float(sum(m.span)), span=range(2)), lambda m, _: patch.object(m, "span", range(4))),
    Change(
        "a Fraction",
        net(lambda m: float(m.scale), scale=fractions.Fraction(1, 3)),
        lambda m, _: patch.object(m, "scale", fractions.Fraction(4, 3)),
    ),
    Change(
        "a Decimal",
        net(lambda m: float(m.scale), scale=decimal.Decimal(1)),
        lambda m, _: patch.object(m, "scale", decimal.Decimal(3)),
    ),
    Change("bytes", net(lambda m: float(m.code[0]), code=b"\1"), lambda m, _: patch.object(m, "code", b"\3")),
    Change("a bytearray, in place", net(lambda m: m.code[0], code=bytearray(b"\1")), lambda m, _: item(m.code, 0, 3)),
    Change(
        "an array, in place",
        net(lambda m: m.scales[0], scales=array.array("d", [1.0])),
        lambda m, _: item(m.scales, 0, 3.0),
    ),
    Change(
        "what a read-only view of a dict shows",
        lambda: _with_view(),
        lambda m, _: item(m.options, "scale", 3.0),
    ),
    Change(
        "an attribute set behind setattr",
        net(lambda m: m.scale, scale=1.0),
        lambda m, _: item(vars(m), "scale", 3.0),
    ),
)


def _gains() -> torch.nn.Module:
    model = net(lambda m: m.a.gain / m.a.loss)()
    model.a.gain, model.a.loss = 1.0, 3.0  # type: ignore[assignment]
    return model


def _with_view() -> torch.nn.Module:
    model = net(lambda m: m.view["scale"], options={"scale": 1.0})()
    model.view = MappingProxyType(model.options)
    return model
