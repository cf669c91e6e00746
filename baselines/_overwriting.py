"""Find the attributes of modules that a call writes before it reads them, and so does not depend on.

Many networks keep what they computed, such as their last activations, for others to look at. If that counted as
something they read, code would have to be made anew whenever it changes, which is in every call.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from baselines.contract import MetaGradient

OWN = vars(nn.Module()).keys()
"""What every module has, and needs."""
Values = dict[nn.Module, dict[str, Any]]


def attributes(model: nn.Module) -> Values:
    """The attributes of every module."""
    return {module: dict(vars(module)) for module in model.modules()}


def overwritten(before: Values, call: Callable[[], MetaGradient], expected: MetaGradient) -> dict[nn.Module, set[str]]:
    """The names of what a call writes and does not read, by module.

    before: the attributes before a first call, which has been made and gave `expected`. Those that it has set are taken
    away and the call is made again: it must write them again, and give the same.
    """
    names = _written(before)
    if names:
        now = {module: dict(vars(module)) for module in before}
        call()
        again = _written(now)
        names = {
            module: own & again.get(module, set()) for module, own in names.items() if own & again.get(module, set())
        }
    if not names:
        return {}
    kept = {module: {name: vars(module).pop(name) for name in own} for module, own in names.items()}
    try:
        grads = call().grads
        same = all(torch.equal(grad, expected.grads[name]) for name, grad in grads.items())
    except Exception:  # it reads one of them, which is not there
        same = False
    written = all(own <= vars(module).keys() for module, own in names.items())
    for module, own in kept.items():
        vars(module).update({name: value for name, value in own.items() if name not in vars(module)})
    return names if same and written else {}


def _written(before: Values) -> dict[nn.Module, set[str]]:
    """The names of the attributes that are other objects now, by module; none that would show another if it went."""
    names = {}
    for module, own in before.items():
        changed = {name for name, value in vars(module).items() if own.get(name, before) is not value}
        if changed := {name for name in changed - OWN if not hasattr(type(module), name)}:
            names[module] = changed
    return names
