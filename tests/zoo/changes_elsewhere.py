"""The user's own Python modules: their globals, and what reads them."""

import sys
from unittest.mock import patch

from tests.zoo import elsewhere
from tests.zoo.elsewhere import scale as scale_of_elsewhere
from tests.zoo.records import Change, item, net

CHANGES = (
    Change(
        "a global of the user's Python module",
        net(lambda m: elsewhere.SCALE),
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
    ),
    Change(
        "a global of the user's Python module, read by its function",
        net(lambda m: elsewhere.scale()),
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
        telling=True,
    ),
    Change(
        "a global of the user's Python module, two calls down",
        net(lambda m: elsewhere.helper()),
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
    ),
    Change(
        "a function of the user's Python module replaced",
        net(lambda m: elsewhere.helper()),
        lambda m, _: patch.object(elsewhere, "scale", lambda: 3.0),
    ),
    Change(
        "a global that an imported function reads",
        net(lambda m: scale_of_elsewhere()),
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
    ),
    Change(
        "a dict of the user's Python module",
        net(lambda m: elsewhere.OPTIONS["scale"]),
        lambda m, _: item(elsewhere.OPTIONS, "scale", 3.0),
    ),
    Change(
        "what is imported within a forward",
        net(lambda m: _imported()),
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
    ),
    Change(
        "an entry of sys.modules",
        net(lambda m: sys.modules["tests.zoo.elsewhere"].SCALE),
        lambda m, _: item(sys.modules, "tests.zoo.elsewhere", _Fake),
    ),
    Change(
        "a global of the Python module that defines the network",
        elsewhere.Scaled,
        lambda m, _: patch.object(elsewhere, "SCALE", 3.0),
    ),
)


class _Fake:
    SCALE = 3.0


def _imported() -> float:
    from tests.zoo.elsewhere import SCALE

    return SCALE
