"""Run a user's `meta_step` in a process of its own; a standalone file, so that it works in the user's environment.

`python worker.py FD FOLDER`: requests and responses are JSON over the socket FD, so that whatever the user's code
prints cannot disturb them. Of this project it loads only two files of this folder, by their paths. FOLDER, where the
user's file lies, comes first on sys.path: `import analysis` imports the user's package, if there is one, and not ours.
Needs Python 3.9 and PyTorch 1.13 or newer.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import inspect
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

PARAMETERS = ("model", "loss_fn", "support", "query", "inner_lr", "inner_steps")
LONGEST = 200  # characters of an exception's message
SETTLING = 5  # calls after which the allocator holds all the memory that it needs
PR_SET_PDEATHSIG = 1

RECORDER, ARGUMENTS = "recorder.py", "arguments.py"
"""The files of this folder that the worker loads."""


class Unusable(Exception):
    """Raised where the user's file or function cannot be used; the message says why."""


class Calls:
    """The user's function, and one model for each network and dtype; their weights change in place between calls."""

    def __init__(self, file: str, function: str) -> None:
        self.file, self.function = file, load(file, function)
        self.recorder = load_sibling(RECORDER).Recorder
        self.arguments = load_sibling(ARGUMENTS)
        self.models: dict[str, nn.Module] = {}

    def build_arguments(self, request: dict[str, Any]) -> tuple[Any, ...]:
        """Return the six arguments of a call, PARAMETERS, with the request's weights in the model."""
        dtype = getattr(torch, request["dtype"])
        key = json.dumps([request["network"], request["dtype"]], sort_keys=True)
        if key not in self.models:
            self.models[key] = self.arguments.network(**request["network"]).to(dtype)
        model = self.models[key]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.tensor(request["theta"][name], dtype=torch.float64))
                parameter.grad = None
        support_x, support_y, query_x, query_y = (torch.tensor(part, dtype=dtype) for part in request["batch"])
        loss = self.arguments.loss_function(request["loss"], request["scale"])
        return model, loss, (support_x, support_y), (query_x, query_y), request["lr"], request["steps"]

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call the function once; return the meta-gradient that it left or returned, and what else it changed."""
        arguments = model, loss, support, query, lr, steps = self.build_arguments(request)
        seed(request["seed"])
        recorder = None
        if request.get("record"):
            namespace = getattr(self.function, "__globals__", {})
            recorder = self.recorder(loss, support[1], query[1], self.file, namespace)
        before = state(model)
        try:
            if recorder:
                with recorder.watching():
                    returned = self.function(model, recorder, support, query, lr, steps)
            else:
                returned = self.function(*arguments)
            grads = {name: p.grad for name, p in model.named_parameters()}
            any_left = any(g is not None and bool((g.to_dense() != 0).any()) for g in grads.values())
            returned_grads = {} if any_left else find_gradients(returned, model)
            return {
                "grads": {name: as_list(grad) for name, grad in (returned_grads or grads).items()},
                "returned": bool(returned_grads),
                "unusable_type": "" if any_left else unusable_type(returned),
                "changed": changes(before, state(model)),
                "calls": recorder.calls if recorder else None,
                "lines": recorder.lines if recorder else None,
            }
        finally:
            restore(model, before)

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Measure by how many bytes a call makes this process grow, after garbage collection.

        That is the lower quartile over calls: kept tensors add up in every call, the allocator grows in some only. None
        where `seconds` pass before all `repeat` calls are done.
        """
        arguments = self.build_arguments(request)
        gc.freeze()  # so that the collection after every call does not look through what exists already
        levels: list[int] = []
        end = time.monotonic() + request["seconds"]
        while len(levels) < request["repeat"]:
            if time.monotonic() > end:
                return {"growth": None}
            before = state(arguments[0])
            self.function(*arguments)
            restore(arguments[0], before)
            gc.collect()
            levels.append(resident())
        growth = sorted(levels[i] - levels[i - 1] for i in range(SETTLING, len(levels)))
        return {"growth": max(0, growth[len(growth) // 4])}


# -- what a call has to leave as it was


def state(model: nn.Module) -> dict[str, Any]:
    """Copy the weights, modes and gradient mode that a call has to leave as they were."""
    return {
        "weights": {name: p.detach().clone() for name, p in model.named_parameters()},
        "modes": {name: m.training for name, m in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad mode": torch.is_grad_enabled(),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of what differs between two states, by kind; kinds without a difference are left out."""
    changed = {}
    for kind, old in before.items():
        new = after[kind]
        if isinstance(old, dict):
            names = [name for name in old if name not in new or not same(old[name], new[name])]
        else:
            names = [] if same(old, new) else [kind]
        if names:
            changed[kind] = names
    return changed


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal; a NaN counts as equal to a NaN."""
    if not isinstance(a, torch.Tensor):
        return bool(a == b)
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def restore(model: nn.Module, before: dict[str, Any]) -> None:
    """Set the model and the gradient mode back to an earlier state, and clear the gradients."""
    torch.set_grad_enabled(before["grad mode"])
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(before["weights"][name])
            p.requires_grad_(before["requires_grad"][name])
            p.grad = None
    for name, m in model.named_modules():
        m.training = before["modes"][name]


def seed(number: int) -> None:
    """Seed the random generators of torch, Python and, where it is imported, NumPy."""
    torch.manual_seed(number)
    random.seed(number)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(number)


def find_gradients(returned: Any, model: nn.Module) -> dict[str, Tensor]:
    """Find a gradient for every parameter in what a call returned, as a dict by name or a list in their order.

    That may be the returned value itself, or an item of it, as in (loss, gradients). Empty where there is none.
    """
    shapes = {name: p.shape for name, p in model.named_parameters()}
    for candidate in (returned, *(returned if isinstance(returned, (tuple, list)) else ())):
        if isinstance(candidate, (tuple, list)) and len(candidate) == len(shapes):
            candidate = dict(zip(shapes, candidate))  # noqa: B905 - Python 3.9 has no `strict`
        if not isinstance(candidate, dict) or candidate.keys() != shapes.keys():
            continue
        if all(isinstance(g, Tensor) and g.shape == shapes[name] for name, g in candidate.items()):
            return candidate
    return {}


def as_list(grad: Tensor | None) -> list[Any] | None:
    """Return a gradient as nested lists of numbers; None for None."""
    return None if grad is None else list(grad.detach().to_dense().double().cpu().tolist())


def unusable_type(returned: Any) -> str:
    """Return the type's name of a returned value that cannot be a loss or contain one; empty for any other."""
    if returned is None or isinstance(returned, (int, float, torch.Tensor)):
        return ""
    if isinstance(returned, (tuple, list, dict)) or hasattr(returned, "__float__"):
        return ""  # perhaps losses by task, or a loss and a log
    return type(returned).__name__


def resident() -> int:
    """Return the resident bytes of this process; where there is no /proc, the highest number that there was."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- the user's file


def load(file: str, name: str) -> Callable[..., Any]:
    """Load the function `name` from `file`; raises Unusable where it cannot be called as a meta_step."""
    module = execute(os.path.splitext(os.path.basename(file))[0], file)
    function = getattr(module, name, None)
    if function is None:
        here = module.__name__
        callables = [n for n, f in vars(module).items() if callable(f) and getattr(f, "__module__", "") == here]
        raise Unusable(f"there is no {name} in it; it defines: {', '.join(sorted(callables)) or 'no functions'}")
    if not callable(function):
        raise Unusable(f"{name} is not a function but {type(function).__name__}")
    signature = inspect.signature(function)
    try:
        signature.bind(*PARAMETERS)
    except TypeError:
        names = ", ".join(signature.parameters)
        raise Unusable(f"{name}({names}) has another signature than {name}({', '.join(PARAMETERS)})") from None
    return function  # type: ignore[no-any-return]


def execute(name: str, file: str) -> Any:
    """Execute a Python file as the module `name`; return the module."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise Unusable("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_sibling(file: str) -> Any:
    """Load a file of this folder as a module whose name cannot hide one of the user's."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), file)
    return execute(f"_{os.path.splitext(file)[0]}", path)


def describe_error(error: BaseException, file: str) -> str:
    """Describe an exception in one line, with the line of the user's file that raised it."""
    text = " ".join(str(error).split())
    if isinstance(error, Unusable):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.abspath(f.filename) == file]
    where = f" (line {frames[-1].lineno} of {os.path.basename(file)})" if frames else ""
    if isinstance(error, SyntaxError) and error.lineno:
        text, where = error.msg, f" (line {error.lineno} of {os.path.basename(str(error.filename))})"
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    return f"{type(error).__name__}: {text or 'no message'}{where}"


def main(descriptor: int, folder: str) -> None:
    """Answer the requests that come over a socket, until the other side closes it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path[0] = folder  # in the place of this file's folder, which would hide modules of the user's
    torch.set_num_threads(1)
    connection = Connection(descriptor)
    calls: Calls | None = None
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            os._exit(0)
        try:
            if request["op"] == "load":
                calls = Calls(request["file"], request["function"])
                response = {"torch": torch.__version__, "python": sys.version.split()[0]}
            else:
                response = getattr(calls, request["op"])(request)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            torch.set_grad_enabled(True)
            response = {"raised": describe_error(error, request.get("file") or calls.file)}  # type: ignore[union-attr]
        connection.send_bytes(json.dumps(response).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
