"""Walk over everything that a model's forward and a loss can read, as far as Python shows it."""

import builtins
import collections
import types
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines._compiler.guards.execution import CONSTANT, Execution, home, imported, is_users, loaded, nested, package
from baselines._compiler.guards.kinds import (
    ATOMS,
    CALLING,
    EQUAL,
    FLAGS,
    OWN_PLACE,
    PARTS,
    STATELESS,
    STRUCTURE,
    Same,
    is_python,
    slots,
    token,
)

SMALL = 4096
"""Elements up to which tensors that are neither parameters nor buffers are compared by value."""
MOST = 50_000  # objects up to which what is read is walked over
Overwritten = Mapping[int, Set[str]]


class Reading:
    """What a forward and a loss can read, by path: names and values of attributes, contents, functions, tying.

    execution: what ran; only attributes and globals whose names it loads are read. overwritten: what is written before
    it is read, and so is not: names of attributes by the id of the namespace that holds them.
    """

    def __init__(self, model: nn.Module, loss: object, execution: Execution, overwritten: Overwritten) -> None:
        self.names = execution.names
        self.everything = execution.dynamic
        self.spelled = execution.spelled
        self.overwritten = overwritten
        self.executed = set(execution.codes)
        self.reached: set[types.CodeType] = set()
        self.state: dict[str, object] = {}
        self.unseen: list[str] = []
        self.tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
        self.namespaces: list[tuple[int, Mapping[str, Any]]] = []
        """The attributes of every instance and class, with the id of their owner's."""
        self.containers: list[Any] = []
        self.ordered: list[dict[Any, Any]] = []
        self.items: list[tuple[Any, Any, object]] = []
        """(container, key, value) where equality is not enough: the value has to be the same object."""
        self.attributes: list[tuple[object, str, object]] = []
        self.objects: list[tuple[object, type, dict[str, Any]]] = []
        """Every instance with its class and its own namespace, which both can be assigned."""
        self.empty: list[tuple[object, str]] = []
        """Attributes that are not set."""
        self.absent: list[tuple[Mapping[str, Any], Set[str]]] = []
        """Namespaces with names that are not in them, and would be read if they were."""
        self.constants: list[tuple[Tensor, Tensor]] = []
        self.arrays: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self.first: dict[int, str] = {}
        self.kept: list[object] = []  # so that no other object gets the id of one that was visited
        self._walk(model, loss, execution)

    def _walk(self, model: nn.Module, loss: object, execution: Execution) -> None:
        self.waiting: list[tuple[str, object]] = []
        hooks = {n: d for n, d in vars(nn.modules.module).items() if n.startswith("_global_") and isinstance(d, dict)}
        self._contents("hooks of all modules", hooks)
        self.waiting += [("the loss", loss), (type(model).__name__, model)]
        while self.waiting:
            self._visit(*self.waiting.pop())
            if len(self.state) > MOST:
                self.unseen.append(f"reads more than {MOST} objects")
                return
        for code, own in execution.codes.items():
            if own.get("__name__", "").startswith("torch.nn.modules.") and own is not vars(nn.modules.module):
                self._named_in_torch(code, own)
        for code in execution.user_codes:
            if code not in self.reached:
                self.unseen.append(f"runs {code.co_name}, which is not seen to be reached from it")

    def _reads(self, name: str) -> bool:
        return self.everything or name in self.names

    def _visit(self, path: str, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS:
            self.state[path] = (kind, repr(value) if kind in (float, complex, slice) else value)
            return
        if isinstance(value, np.generic):
            self.state[path] = (kind, value.tobytes())
            return
        if id(value) in self.tensors and OWN_PLACE.search(path) is None:
            self.unseen.append(f"reads {path}, a parameter or buffer outside of its module")
        if id(value) in self.first:
            if self.first[id(value)] != path:
                self.state[path] = ("same as", self.first[id(value)])
            return
        while path in self.state:  # another class of that name
            path += "′"
        self.first[id(value)] = path
        self.kept.append(value)
        if isinstance(value, Tensor):
            self._tensor(path, value)
        elif isinstance(value, np.ndarray):
            self._array(path, value)
        elif isinstance(value, types.FunctionType):
            self._function(path, value)
        elif isinstance(value, type):
            self._class(path, value)
        elif isinstance(value, types.ModuleType):
            self._module(path, value)
        elif isinstance(value, STATELESS):
            self._stateless(path, value)
        elif kind in PARTS:
            self.state[path] = kind
            for name in PARTS[kind]:
                self._attribute(path, value, name)
        else:
            self._object(path, value)

    def _object(self, path: str, value: Any) -> None:
        """Visit a container or an instance of a class."""
        kind = type(value)
        contents = isinstance(value, (dict, list, tuple, set, frozenset, collections.deque))
        if isinstance(value, (torch.jit.ScriptModule, torch.jit.ScriptFunction)) or not (contents or is_python(kind)):
            self.state[path] = Same(value)
            self.unseen.append(f"reads {path}, a {kind.__name__}, whose state cannot be seen")
            return
        if contents:
            self._contents(path, value)
        else:
            base = next((base for base in (int, float, complex, str, bytes) if issubclass(kind, base)), None)
            self.state[path] = (kind, base.__repr__(value)) if base else kind
        if home(kind) != "builtins":
            self.waiting.append((f"class {kind.__name__}", kind))
            own = getattr(value, "__dict__", None)
            if isinstance(own, dict) and (own or home(kind) != "collections"):  # as hooks' OrderedDicts have
                self._instance(path, own)
                self.objects.append((value, kind, own))
            for name in slots(kind):
                if self._reads(name):
                    self._attribute(path, value, name)

    def _instance(self, path: str, own: dict[str, Any]) -> None:
        """Visit the attributes of an instance that are read."""
        self.namespaces.append((id(own), own))
        for name, value in own.items():
            if name in FLAGS and not own.get(FLAGS[name]):
                continue
            if (self._reads(name) or name in STRUCTURE) and name not in self.overwritten.get(id(own), ()):
                self._strictly(own, name, value)
                self.waiting.append((f"{path}.{name}", value))

    def _contents(self, path: str, value: Any) -> None:
        """Visit what a container holds."""
        kind = type(value)
        self.state[path] = (kind, len(value))
        if isinstance(value, dict):
            self.containers.append(value)
            self.state[f"{path}, its keys"] = tuple(map(token, value))
            if len(value) > 1 and not path.endswith(("._parameters", "._buffers")):
                self.ordered.append(value)
            for key, each in value.items():
                self._strictly(value, key, each)
                self.waiting.append((f"{path}[{key!r}]" if type(key) in ATOMS else f"{path}[{id(key)}]", each))
                if type(key) not in ATOMS:
                    self.waiting.append((f"{path}, key {id(key)}", key))
            return
        if isinstance(value, (set, frozenset)):
            self.state[f"{path}, its elements"] = frozenset(map(token, value))
        if not isinstance(value, (tuple, frozenset)):
            self.containers.append(value)
        for index, each in enumerate(value):
            if isinstance(value, (list, collections.deque)):
                self._strictly(value, index, each)
            if not isinstance(value, (set, frozenset)) or type(each) not in ATOMS:
                self.waiting.append((f"{path}[{index}]", each))

    def _strictly(self, container: Any, key: Any, value: object) -> None:
        """Ask for the very same object where an equal one may be another."""
        kind = type(value)
        if kind not in EQUAL and kind.__eq__ is not object.__eq__:
            self.items.append((container, key, value))

    def _attribute(self, path: str, owner: object, name: str) -> None:
        """Visit an attribute that is in no dictionary; one that is not set is noted, too."""
        try:
            value = getattr(owner, name)
        except (AttributeError, ValueError):  # an empty slot, an empty cell
            self.state[f"{path}.{name}"] = "not set"
            self.empty.append((owner, name))
            return
        self.attributes.append((owner, name, value))
        self.waiting.append((f"{path}.{name}", value))

    def _tensor(self, path: str, value: Tensor) -> None:
        """Note which tensor it is, if it is the model's, and its value if it is not."""
        own = vars(value)
        if own:
            self._instance(path, own)
        if id(value) in self.tensors:
            hooks = value._backward_hooks
            self.attributes.append((value, "_backward_hooks", hooks))
            self.state[path] = ("tensor", type(value), bool(hooks))
            return
        if value.numel() > SMALL or value.is_sparse or value.device.type == "meta":
            self.unseen.append(f"reads {path}, a tensor of over {SMALL} elements that is neither parameter nor buffer")
            return
        copy = value.detach().clone()
        self.constants.append((value, copy))
        form = (type(value), value.dtype, value.device, value.shape, value.stride())
        self.state[path] = (form, copy.cpu().reshape(-1).view(torch.uint8).numpy().tobytes() if copy.numel() else b"")

    def _array(self, path: str, value: np.ndarray[Any, Any]) -> None:
        """Note an array's value."""
        if value.size > SMALL or value.dtype.hasobject:
            self.unseen.append(f"reads {path}, an array of over {SMALL} elements or of objects")
            return
        self.arrays.append((value, value.copy()))
        self.state[path] = (type(value), value.dtype.str, value.shape, value.strides, value.tobytes())

    def _function(self, path: str, value: types.FunctionType) -> None:
        """Visit a function's code, defaults, closure and the globals that it names."""
        if not is_users(value.__module__ or "__main__"):
            self.state[path] = Same(value)
            return
        self.state[path] = Same(value.__code__)
        self.attributes.append((value, "__code__", value.__code__))
        if self.executed.isdisjoint(nested(value.__code__)):
            return
        for name in ("__defaults__", "__kwdefaults__"):
            self._attribute(path, value, name)
        if vars(value):
            self._instance(path, vars(value))
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            self._attribute(f"{path}, {name}", cell, "cell_contents")
        for code in nested(value.__code__):
            self.reached.add(code)
            hidden = {name for name in loaded(code) if name not in value.__globals__ and name in vars(builtins)}
            if hidden:
                self.absent.append((value.__globals__, hidden))
            for name in sorted(loaded(code)):
                self._global(value.__globals__, name)
            for name, module in imported(code).items():
                self.waiting.append((f"module {name}", module))

    def _global(self, module: dict[str, Any], name: str) -> None:
        """Visit a global variable by name, if there is one."""
        path = f"{module.get('__name__', '')}.{name}"
        if path in self.state:
            return
        if name in module:
            self.items.append((module, name, module[name]))
            self.waiting.append((path, module[name]))
        elif name in vars(builtins) and not callable(getattr(builtins, name)):
            self.items.append((vars(builtins), name, getattr(builtins, name)))
            self.waiting.append((f"builtins.{name}", getattr(builtins, name)))

    def _class(self, path: str, value: type) -> None:
        """Visit a class of the user's: the members that are read, its bases and its own class."""
        self.state[path] = Same(value)
        if not is_users(home(value)):
            self._constant_class(path, value)
            return
        self.state[f"{path}, its bases"] = tuple(map(Same, value.__mro__))
        self.attributes.append((value, "__mro__", value.__mro__))
        self.namespaces.append((id(value), vars(value)))
        for name, member in vars(value).items():
            if self._reads(name) or (name.startswith("__") and (callable(member) or name == "__match_args__")):
                self._strictly(vars(value), name, member)
                self.waiting.append((f"{path}.{name}", member))
        self.waiting += [(f"class {each.__name__}", each) for each in (*value.__mro__[1:], type(value))]

    def _constant_class(self, path: str, value: type) -> None:
        """Note which methods of PyTorch's class ran, and what the user's code may read of it."""
        if package(home(value)) != "torch":
            return
        for name, member in vars(value).items():
            code = getattr(member, "__code__", None)
            ran = code in self.executed and (value is not nn.Module or name in CALLING)
            if ran or (code is None and name in self.spelled):
                self.items.append((vars(value), name, member))
                self.state[f"{path}.{name}"] = Same(member)
        if absent := self.spelled - vars(value).keys():
            self.absent.append((vars(value), absent))
        self.waiting += [(f"class {each.__name__}", each) for each in value.__mro__[1:-1]]

    def _named_in_torch(self, code: types.CodeType, own: dict[str, Any]) -> None:
        """Note the functions of PyTorch that a layer of its own names, which may have been replaced."""
        names = loaded(code)
        spaces = [own, *(vars(own[name]) for name in names if isinstance(own.get(name), types.ModuleType))]
        for space in spaces:
            for name in names & space.keys():
                path = f"{space.get('__name__')}.{name}"
                if path not in self.state:
                    self.items.append((space, name, space[name]))
                    self.state[path] = Same(space[name])

    def _module(self, path: str, value: types.ModuleType) -> None:
        """Visit what is read of a module of the user's, or of the standard library's variables."""
        self.state[path] = Same(value)
        constant = package(value.__name__) in CONSTANT
        for name in sorted(self.spelled if constant else self.names):
            if name in vars(value) and not name.startswith("__"):
                self._global(vars(value), name)

    def _stateless(self, path: str, value: Any) -> None:
        """Note which object it is, and visit the object that it is bound to."""
        owner = getattr(value, "__self__", None)
        bound = owner is not None and not isinstance(owner, (types.ModuleType, type))
        self.state[path] = (type(value), getattr(value, "__name__", "")) if bound else Same(value)
        if bound:
            self.waiting.append((f"{path}.__self__", owner))
