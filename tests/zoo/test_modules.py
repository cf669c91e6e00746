"""Is the meta-gradient of every network of the zoo right, as it is built, or refused in a sentence?"""

import pytest

from tests.implementations import CLASSES, COMPILED
from tests.zoo.judging import KNOWN, REFUSED, RIGHT, judge_module, worst
from tests.zoo.modules import MODULES
from tests.zoo.records import Module

OTHERS = [*sorted({*CLASSES} - COMPILED), "jax"]
ALLOWED = (RIGHT, REFUSED, KNOWN)
modules = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


@pytest.mark.slow
@modules
def test_compiled_is_right_or_refuses(module: Module) -> None:
    assert worst(judge_module(module, "compiled")).status in ALLOWED


@pytest.mark.slow
@modules
def test_every_implementation_is_right_or_refuses(module: Module) -> None:
    found = {name: worst(judge_module(module, name)) for name in OTHERS}
    assert not {name: verdict for name, verdict in found.items() if verdict.status not in ALLOWED}


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES[::8], ids=lambda module: module.name)
def test_what_else_is_compiled_is_right_or_refuses(module: Module) -> None:
    found = {name: worst(judge_module(module, name)) for name in COMPILED - {"compiled", "jax"}}
    assert not {name: verdict for name, verdict in found.items() if verdict.status not in ALLOWED}


def test_no_two_networks_have_one_name() -> None:
    assert len({module.name for module in MODULES}) == len(MODULES) > 100
