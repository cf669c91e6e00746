"""Tell objects apart by how their state can be seen: values, wrappers, what is written in Python, what is not."""

import collections
import enum
import functools
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from baselines._compiler.guards.execution import home, package

ATOMS = {
    *(type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
}
"""Types of values that never change, and are told apart by type and value."""
EQUAL = {
    *(type(None), str, bytes, dict, list, set),
    *(collections.OrderedDict, collections.defaultdict, collections.deque),
}
"""Types whose values can stand for each other where they are equal; for others (1 == True == 1.0) a forward may not."""
STATELESS = (
    *(types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType),
    *(types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, np.ufunc, np.dtype),
    *(type(torch.ops.aten), type(torch.ops.aten.add), type(torch.ops.aten.add.Tensor), type(torch.finfo())),
    *(type(torch.iinfo(torch.int8)), type(torch.get_default_device())),
)
"""Types of objects that hold nothing that a call could change."""
PARTS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__self__", "__func__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.cached_property: ("func",),
}
"""What objects that wrap others consist of."""


TRANSPARENT = {object, dict, list, tuple, set, frozenset, int, float, complex, str, bytes, types.SimpleNamespace}
"""Classes that are not written in Python and hide nothing, which those that are may have as bases."""


OWN_PLACE = re.compile(r"\._(parameters|buffers)\['[^']*'\]′*$")
"""How the path of a tensor ends that a module has."""
FLAGS = {
    "_forward_hooks_with_kwargs": "_forward_hooks",
    "_forward_hooks_always_called": "_forward_hooks",
    "_forward_pre_hooks_with_kwargs": "_forward_pre_hooks",
}
"""What says something of hooks alone, and nothing where there are none."""
CALLING = {"forward", "__call__", "_wrapped_call_impl", "_call_impl", "__getattr__"}
"""The methods of torch.nn.Module by which a layer comes to its forward."""
STRUCTURE = ("_parameters", "_buffers", "_modules")
HEAP_TYPE = 1 << 9
"""The flag of classes that were made at run time, as every class statement does."""


class Same:
    """An object that is equal to itself alone."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def is_python(kind: type) -> bool:
    """Whether a class and its bases are written in Python, so that its instances' attributes can be seen."""
    return all(
        issubclass(each, BaseException) or each in TRANSPARENT or (home(each) != "builtins" and _is_written(each))
        for each in kind.__mro__
    )


def _is_written(kind: type) -> bool:
    """Whether a class has methods in Python, or else is an ordinary one that no compiled package defines."""
    if any(isinstance(member, types.FunctionType) for member in vars(kind).values()):
        return True
    origin = package(home(kind))
    compiled = (origin in sys.stdlib_module_names and origin != "__main__") or origin in ("numpy", "torch")
    return type(kind) is type and not compiled and bool(kind.__flags__ & HEAP_TYPE)


def slots(kind: type) -> Iterator[str]:
    """The names of the attributes that instances have outside of their dictionaries."""
    for each in kind.__mro__:
        names: Any = vars(each).get("__slots__", ())
        yield from ((names,) if isinstance(names, str) else names)


def token(value: object) -> object:
    """A key or an element, told apart by type and value, or by identity."""
    return (type(value), repr(value)) if type(value) in ATOMS or isinstance(value, enum.Enum) else Same(value)
