"""What a module is besides its tensors: attributes that its forward reads and sets, hooks, and who is using it."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import nn
from torch.nn.modules import activation, batchnorm, conv, dropout, flatten, instancenorm, linear, normalization, pooling

CONTAINERS = frozenset((dict, OrderedDict, defaultdict, list, set))
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
STOCK: dict[type, object] = {nn.Sequential: nn.Sequential.forward}
"""torch's layers that call nobody else's code and set no attributes → their forward."""
for _file in (activation, batchnorm, conv, dropout, flatten, instancenorm, linear, normalization, pooling):
    STOCK.update({c: c.forward for c in vars(_file).values() if isinstance(c, type) and issubclass(c, nn.Module)})

_turn = threading.Condition()
_holders: dict[int, int] = {}
"""The id of every module that is in use → the thread that uses it."""


def lowers(device: torch.device) -> bool:
    """Whether `torch.autocast` is on there."""
    try:
        return torch.is_autocast_enabled(device.type)
    except TypeError:  # before torch 2.4
        return torch.is_autocast_cpu_enabled() if device.type == "cpu" else torch.is_autocast_enabled()


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread has the model or any of its modules, and keep them from others meanwhile.

    While tensors stand for a module's own, whoever else computes with it would get theirs. A thread may enter again
    what it has. Models that share a layer wait for each other; others do not.
    """
    thread = threading.get_ident()
    with _turn:
        while (modules := _free(model, thread)) is None:
            _turn.wait()
        new = modules - _holders.keys()
        _holders.update(dict.fromkeys(new, thread))
    try:
        yield
    finally:
        with _turn:
            for module in new:
                del _holders[module]
            _turn.notify_all()


def _free(model: nn.Module, thread: int) -> set[int] | None:
    """The ids of the model's modules; None where another thread has one, who may be changing what they are."""
    if _holders.get(id(model), thread) != thread:
        return None
    modules = {id(module) for module in model.modules()}
    return None if any(_holders.get(module, thread) != thread for module in modules & _holders.keys()) else modules


@contextmanager
def unchanged(model: nn.Module) -> Iterator[list[Any]]:
    """Undo what a forward does to its modules besides their tensors' values: to attributes, and in their containers.

    While tensors stand for others, it must not keep any. Yields a list, where the containers come that were put back.
    """
    kept: list[tuple[Any, Any]] = []
    empty: list[Any] = []  # most containers of a module are: its hooks
    for module in model.modules():
        attributes = vars(module)
        kept.append((attributes, attributes.copy()))
        for value in [value for value in attributes.values() if value.__class__ in CONTAINERS]:
            kept.append((value, value.copy())) if value else empty.append(value)
    changed: list[Any] = []
    try:
        yield changed
    finally:
        for container in filter(None, empty):
            changed.append(container)
            container.clear()
        for container, before in kept:
            if not _same(container, before):
                changed.append(container)
                container.clear()
                container.extend(before) if isinstance(container, list) else container.update(before)


def _same(container: Any, before: Any) -> bool:
    """Whether two dicts, lists or sets hold the very same objects in the same order."""
    if len(container) != len(before) or not all(map(is_, container, before)):
        return False
    return not isinstance(container, dict) or all(map(is_, container.values(), before.values()))


def replaced(model: nn.Module) -> str | None:
    """What computes besides the modules' classes: hooks, or a forward of one instance; None where nothing does.

    Whoever writes the modules anew leaves it out.
    """
    if hooked_everywhere():
        return "hooks on all modules"
    for name, module in model.named_modules():
        own = vars(module)
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]:
            return f"hooks on {name or 'the model'}"
        if "forward" in own:
            return f"a forward of its own in {name or 'the model'}"
    return None


def hooked_everywhere() -> bool:
    """Whether there are hooks on every module of the process."""
    return any(vars(nn.modules.module).get(f"_global{kind}") for kind in HOOKS)


def compiled_by_torch(model: nn.Module) -> bool:
    """Whether `torch.compile` made one of its modules, whose code neither torch.func nor a clone can enter."""
    return any(type(m).__name__ == "OptimizedModule" or m._compiled_call_impl is not None for m in model.modules())


def stock(model: nn.Module) -> bool:
    """Whether only layers of torch's own compute, of which it is known that they neither set hooks nor attributes."""
    kinds = {type(m) for m in model.modules()}
    return kinds <= STOCK.keys() and all(kind.forward is STOCK[kind] for kind in kinds) and replaced(model) is None
