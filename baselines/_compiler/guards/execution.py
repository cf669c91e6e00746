"""Record which code a call runs, and what that code can read: the names it loads, the C functions it calls."""

import dis
import functools
import gc
import re
import sys
from collections.abc import Iterator, Set
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy
import torch

CONSTANT = ("torch", "torchgen", "functorch", "numpy", "einops", "baselines")
"""Packages that are taken as constant: PyTorch, NumPy, what only rearranges tensors, and our own code."""
PURE = {
    *("_abc", "_bootstrap", "_collections", "_collections_abc", "_functools", "_operator", "_weakrefset"),
    *("abc", "builtins", "bisect", "cmath", "collections", "contextlib", "copy", "copyreg", "dataclasses"),
    *("enum", "fractions", "functools", "heapq", "itertools", "keyword", "logging", "math", "numbers", "operator"),
    *("re", "reprlib", "statistics", "string", "types", "typing", "warnings", "__future__", "_sre", "_warnings"),
}
"""Modules of the standard library whose results depend on their arguments alone."""
IMPURE = {"open", "input", "eval", "exec", "compile", "globals", "breakpoint", "__import__"}
"""Built-in functions that read what no guard can see."""
SPELLED = {
    **dict.fromkeys(("default_rng", "RandomState", "SeedSequence", "initial_seed", "Generator"), "random numbers"),
    **dict.fromkeys(("Decimal", "getcontext", "localcontext"), "decimals"),
}
"""Names by which code gets what depends on more than can be seen: random numbers of a generator of its own, …"""
STATE = re.compile("get_|are_|geterr|is_(?!tensor|floating_point|complex|storage|same_size|signed)")
"""The beginnings of names of functions that read the state of PyTorch and NumPy, but for what is part of every key."""
KNOWN_STATE = {"get_default_dtype", "get_autocast_dtype", "is_autocast_enabled", "is_inference_mode_enabled"}
HOOKING = {"register_hook", "register_prehook"}
"""Methods of nodes of PyTorch's graphs, which a trace has none of."""
IMPORTING = {"importlib._bootstrap", "_frozen_importlib"}
"""The modules that import others."""
DYNAMIC = {"getattr", "vars", "dir", "attrgetter", "methodcaller", "hasattr", "__dict__", "__getattribute__"}
"""Names by which code reads attributes whose names it does not spell."""
VALUES = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, slice, range)
UNSEEN = {
    "torch._tensor.Tensor.register_hook": "registers hooks on tensors",
    "torch._tensor.Tensor.register_post_accumulate_grad_hook": "registers hooks on tensors",
    "torch.utils.hooks.BackwardHook.setup_input_hook": "has backward hooks",
    "torch.utils.hooks.BackwardHook.setup_output_hook": "has backward hooks",
    "torch.autograd.graph.register_multi_grad_hook": "registers hooks on tensors",
    "torch.autograd.graph.saved_tensors_hooks.__enter__": "has hooks on saved tensors",
    "torch.utils.checkpoint.checkpoint": "checkpoints activations",
    "torch._dynamo.eval_frame._TorchDynamoContext.__call__": "is compiled by torch.compile",
}
"""Functions of PyTorch after which a trace is not what the call computes: by qualified name, with the reason."""


class Execution:
    """The Python code that ran in this thread while active, and the reasons why not all it reads can be seen.

    While it is active no other profiler is; the one before is back afterwards.
    """

    def __init__(self) -> None:
        self.codes: dict[CodeType, dict[str, Any]] = {}
        """Every code object that ran, with the globals it ran with."""
        self.importing: FrameType | None = None
        self.calls: dict[tuple[str, str, type], str] = {}
        """Every C function that ran: its module, name and receiver's type, and the function that called it."""

    def __enter__(self) -> "Execution":
        self.before, self.collecting = sys.getprofile(), gc.isenabled()
        gc.disable()  # what others do after a collection is none of the call's
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(self.before)
        if self.collecting:
            gc.enable()

    def _event(self, frame: FrameType, event: str, function: Any) -> None:
        if self.importing is not None:  # what an import runs is run once
            if event == "return" and frame is self.importing:
                self.importing = None
        elif event == "call" and (frame.f_code.co_name == "<module>" or frame.f_globals.get("__name__") in IMPORTING):
            self.importing = frame
        elif event == "call":
            if not _serves_what_is_constant(frame):
                self.codes.setdefault(frame.f_code, frame.f_globals)
        elif event == "c_call":
            module = getattr(function, "__module__", None) or ""
            owner = getattr(function, "__self__", None)
            key = (module, function.__name__, owner if isinstance(owner, type) else type(owner))
            self.calls.setdefault(key, frame.f_globals.get("__name__", ""))

    @functools.cached_property
    def user_codes(self) -> dict[CodeType, dict[str, Any]]:
        """What ran of code that is not taken as constant, with its globals."""
        return {code: own for code, own in self.codes.items() if is_users(own.get("__name__", ""))}

    @functools.cached_property
    def names(self) -> set[str]:
        """Every name that the code loads: of attributes, globals and imports, and its constant strings."""
        return set().union(*map(loaded, self.codes))

    @functools.cached_property
    def spelled(self) -> set[str]:
        """The names that the user's own code loads."""
        return set().union(*map(loaded, self.user_codes))

    @functools.cached_property
    def dynamic(self) -> bool:
        """Whether code that is not taken as constant may read attributes whose names it does not spell."""
        others = (code for code, own in self.codes.items() if package(own.get("__name__", "")) not in CONSTANT)
        return any(not DYNAMIC.isdisjoint(code.co_names) for code in others)

    def unseen(self) -> list[str]:
        """What the code does that no guard can see, as predicates of it; empty if all can be seen."""
        reasons = []
        for code, own in self.codes.items():
            module = own.get("__name__", "")
            if reason := UNSEEN.get(f"{module}.{code.co_qualname}" if hasattr(code, "co_qualname") else ""):
                reasons.append(reason)
            elif _is_standard(module) and package(module) not in PURE:
                reasons.append(f"calls {module}.{code.co_name}")
        for (module, name, receiver), caller in self.calls.items():
            if not is_users(caller):
                continue
            origin = module or home(receiver)
            impure = name in IMPURE if origin == "builtins" else package(origin) not in (*CONSTANT, *PURE)
            if name in HOOKING or (impure and not (issubclass(receiver, VALUES) and not module)):
                reasons.append(f"calls {name}" if origin == "builtins" else f"calls {origin}.{name}")
        reasons += [f"calls {name}" for name in sorted(self.spelled - KNOWN_STATE) if _reads_state(name)]
        reasons += [f"gets {what} by {name}" for name, what in SPELLED.items() if name in self.spelled]
        return list(dict.fromkeys(reasons))


def _reads_state(name: str) -> bool:
    return STATE.match(name) is not None and (hasattr(torch, name) or hasattr(numpy, name))


def _serves_what_is_constant(frame: FrameType) -> bool:
    """Whether it is the standard library's code, called by code that is taken as constant."""
    caller: FrameType | None = frame
    while caller is not None and _is_standard(caller.f_globals.get("__name__", "")):
        caller = caller.f_back
    return caller is not None and caller is not frame and package(caller.f_globals.get("__name__", "")) in CONSTANT


def package(module: str) -> str:
    """The name of the outermost package of a module's name."""
    return module.partition(".")[0]


def home(kind: type) -> str:
    """The name of the module of a class; some of those that Cython makes have none."""
    return kind.__module__ if isinstance(kind.__module__, str) else "builtins"


def is_users(module: str) -> bool:
    """Whether a module, by name, is neither taken as constant nor part of the standard library."""
    generated = module.startswith("namedtuple_")
    return not generated and package(module) not in CONSTANT and not _is_standard(module)


def _is_standard(module: str) -> bool:
    return package(module) in sys.stdlib_module_names and module != "__main__"


@functools.lru_cache(maxsize=4096)
def loaded(code: CodeType) -> Set[str]:
    """The names that a code object loads, rather than only stores, and the strings among its constants."""
    names = {
        i.argval if i.opname != "IMPORT_NAME" else package(i.argval)
        for i in dis.get_instructions(code)
        if i.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_SUPER", "IMPORT_"))
    }
    return frozenset(names | set(_strings(code.co_consts)))


@functools.lru_cache(maxsize=4096)
def stored(code: CodeType) -> Set[str]:
    """The names of the attributes that a code object sets."""
    return frozenset(i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR")


def nested(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions that are defined inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def imported(code: CodeType) -> dict[str, ModuleType]:
    """The modules that a code object imports itself, by name."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
    return {name: sys.modules[name] for name in sorted(names) if name in sys.modules}


def _strings(constants: tuple[object, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _strings(constant)
