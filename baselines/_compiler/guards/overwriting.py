"""Find the attributes of modules that a call writes before it reads them, and so does not depend on.

Many networks keep what they computed, such as their last activations, for others to look at. If that counted as
something they read, code would have to be made anew whenever it changes, which is whenever anyone calls the network.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from baselines._compiler.guards.execution import Execution, home, is_users, loaded, stored
from baselines.contract import MetaGradient

Attributes = dict[nn.Module, set[str]]
MOST = 8
"""So many attributes are tried one by one, where not all of them are written first."""


class Unusable:
    """Something that nothing can be done with: whatever is asked of it raises TypeError."""

    def _refuse(self, *arguments: object) -> Any:
        raise TypeError("it is not known yet")

    __getattribute__ = __bool__ = __eq__ = __hash__ = __repr__ = __str__ = __format__ = _refuse  # type: ignore[assignment]


def overwritten(
    model: nn.Module, execution: Execution, call: Callable[[], MetaGradient], expected: MetaGradient
) -> Attributes:
    """The names of what a call writes before it reads it, by module.

    call: makes the call again that was recorded and gave `expected`. It is made with something in the place of the
    attributes that nothing can be done with, and must give the same.
    """
    if execution.dynamic:
        return {}
    codes = execution.user_codes
    names = set().union(*map(stored, codes)) & set().union(*map(loaded, codes))
    modules = [module for module in model.modules() if is_users(home(type(module)))]
    candidates = {module: {name for name in names if _is_plain(module, name)} for module in modules}
    if not any(candidates.values()):
        return {}
    if _unread(candidates, call, expected):
        return candidates
    singles = [{module: {name}} for module, own in candidates.items() for name in own][:MOST]
    unread: Attributes = {}
    for single in singles if len(singles) > 1 else []:
        if _unread(single, call, expected):
            for module, own in single.items():
                unread.setdefault(module, set()).update(own)
    return unread


def _is_plain(module: nn.Module, name: str) -> bool:
    """Whether an instance may have an attribute of this name beside its tensors, modules and methods."""
    tensors = (module._parameters, module._buffers, module._modules)
    ours = getattr(type(module), name, None)
    return not any(name in each for each in tensors) and not callable(ours) and not hasattr(ours, "__get__")


def _unread(attributes: Attributes, call: Callable[[], MetaGradient], expected: MetaGradient) -> bool:
    """Whether the call gives the same when it cannot use the present values of these attributes."""
    before = {module: dict(vars(module)) for module in attributes}
    for module, names in attributes.items():
        vars(module).update(dict.fromkeys(names, Unusable()))
    try:
        grads = call().grads
        return all(torch.equal(grad, expected.grads[name]) for name, grad in grads.items())
    except Exception:  # it has used one of them
        return False
    finally:
        for module, names in attributes.items():
            _put_back(module, names, before[module])


def _put_back(module: nn.Module, names: Iterable[str], before: dict[str, object]) -> None:
    for name in names:
        vars(module).pop(name, None)
    vars(module).update({name: before[name] for name in names if name in before})
