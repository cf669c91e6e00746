"""The process that runs a user's `meta_step`: one standalone file, so that it works in the user's own environment.

`python child.py FD FOLDER`: requests and answers are JSON over the socket FD, so that whatever the user's code prints
cannot disturb them. Of this project it loads only the file beside it, by its path, and FOLDER, where the user's file
lies, comes first on the path: a package of the user's named like one of ours is the one that is found. Python 3.9 and
PyTorch 1.13 or newer suffice.
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
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

PARAMETERS = ("model", "loss_fn", "support", "query", "inner_lr", "inner_steps")
LONGEST = 200
SETTLING = 5  # calls after which the allocator has what it needs
PR_SET_PDEATHSIG = 1

Loss = Callable[[Tensor, Tensor], Tensor]
RECORDER = "recorder.py"


class Unusable(Exception):
    """What was asked for cannot be used; the message says why."""


# -- what the calls are made with


def network(layers: Sequence[int], activation: str, normalised: bool = False) -> nn.Module:
    """`layers` = (inputs, width, …, outputs): linear layers with tanh or relu between them, named as our oracles do.

    normalised: with batch normalisation by the points at hand, without running statistics, after every hidden layer.
    """
    model = nn.Sequential()
    for i in range(1, len(layers) - 1):
        model.add_module(f"hidden{i}", nn.Linear(layers[i - 1], layers[i]))
        if normalised:
            model.add_module(f"norm{i}", nn.BatchNorm1d(layers[i], track_running_stats=False))
        model.add_module(f"{activation}{i}", nn.Tanh() if activation == "tanh" else nn.ReLU())
    model.add_module("out", nn.Linear(layers[-2], layers[-1]))
    return model


def loss_function(kind: str, scale: float) -> Loss:
    """The mean over points of the pseudo-Huber loss √(1 + d²) − 1, or of d², times `scale`; d = prediction − target."""

    def pseudo_huber(prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        return scale * (torch.sqrt(1 + difference * difference) - 1).mean()

    def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        return scale * (difference * difference).mean()

    return {"pseudo-huber": pseudo_huber, "squared error": squared_error}[kind]


class Calls:
    """The user's function, and one model of every kind, whose weights change in place from call to call."""

    def __init__(self, file: str, function: str) -> None:
        self.file, self.function = file, load(file, function)
        self.recorder = execute(
            "_recorder", os.path.join(os.path.dirname(os.path.abspath(__file__)), RECORDER)
        ).Recorder
        self.models: dict[str, nn.Module] = {}

    def make(self, request: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of a call, and its model with the weights of the request."""
        dtype = getattr(torch, request["dtype"])
        key = json.dumps([request["network"], request["dtype"]], sort_keys=True)
        if key not in self.models:
            self.models[key] = network(**request["network"]).to(dtype)
        model = self.models[key]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.tensor(request["theta"][name], dtype=torch.float64))
                parameter.grad = None
        support_x, support_y, query_x, query_y = (torch.tensor(part, dtype=dtype) for part in request["batch"])
        loss = loss_function(request["loss"], request["scale"])
        return model, loss, (support_x, support_y), (query_x, query_y), request["lr"], request["steps"]

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """One call: the meta-gradient it left or returned, and what else it changed."""
        arguments = model, loss, support, query, lr, steps = self.make(request)
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
            left = any(g is not None and bool((g.to_dense() != 0).any()) for g in grads.values())
            instead = {} if left else gradients(returned, model)
            return {
                "grads": {name: as_list(grad) for name, grad in (instead or grads).items()},
                "returned": bool(instead),
                "nonsense": "" if left else nonsense(returned),
                "changed": changes(before, state(model)),
                "calls": recorder.calls if recorder else None,
                "lines": recorder.lines if recorder else None,
            }
        finally:
            restore(model, before)

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """The growth of this process' resident bytes per call, after garbage collection.

        The lower quartile: what is kept adds up in every call, what the allocator does in some. None where the calls
        are so slow that `seconds` are over before they are all made.
        """
        arguments = self.make(request)
        gc.freeze()  # what is there already need not be looked through after every call
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


# -- what a call may change


def state(model: nn.Module) -> dict[str, Any]:
    """Everything of the process and the model that a call has to leave as it was."""
    return {
        "weights": {name: p.detach().clone() for name, p in model.named_parameters()},
        "modes": {name: m.training for name, m in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad mode": torch.is_grad_enabled(),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[str]]:
    """Names of what changed, by kind."""
    found = {}
    for kind, old in before.items():
        new = after[kind]
        if isinstance(old, dict):
            names = [name for name in old if name not in new or not same(old[name], new[name])]
        else:
            names = [] if same(old, new) else [kind]
        if names:
            found[kind] = names
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; numbers that are none are equal to each other."""
    if not isinstance(a, torch.Tensor):
        return bool(a == b)
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def restore(model: nn.Module, before: dict[str, Any]) -> None:
    """Undo what a call changed, so that the next one starts from what was asked for."""
    torch.set_grad_enabled(before["grad mode"])
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(before["weights"][name])
            p.requires_grad_(before["requires_grad"][name])
            p.grad = None
    for name, m in model.named_modules():
        m.training = before["modes"][name]


def seed(number: int) -> None:
    """Give every generator that a call may draw from the same numbers again."""
    torch.manual_seed(number)
    random.seed(number)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(number)


def gradients(returned: Any, model: nn.Module) -> dict[str, Tensor]:
    """Gradients by parameter among what a call returned: by name, or in the parameters' order; none if there are none.

    They may be the returned value or an item of it, as beside a loss.
    """
    shapes = {name: p.shape for name, p in model.named_parameters()}
    for found in (returned, *(returned if isinstance(returned, (tuple, list)) else ())):
        if isinstance(found, (tuple, list)) and len(found) == len(shapes):
            found = dict(zip(shapes, found))  # noqa: B905 - Python 3.9 has no `strict`
        if not isinstance(found, dict) or found.keys() != shapes.keys():
            continue
        if all(isinstance(g, Tensor) and g.shape == shapes[name] for name, g in found.items()):
            return found
    return {}


def as_list(grad: Tensor | None) -> list[Any] | None:
    """A gradient's numbers; None where there is none."""
    return None if grad is None else list(grad.detach().to_dense().double().cpu().tolist())


def nonsense(returned: Any) -> str:
    """What a call returned, if it cannot be a loss."""
    if returned is None or isinstance(returned, (int, float, torch.Tensor)):
        return ""
    if isinstance(returned, (tuple, list, dict)) or hasattr(returned, "__float__"):
        return ""  # losses by task, or with something beside
    return type(returned).__name__


def resident() -> int:
    """Resident bytes of this process."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- the user's file


def load(file: str, name: str) -> Callable[..., Any]:
    """The function `name` of `file`; raises Unusable where it cannot be called as a meta_step."""
    module = execute(os.path.splitext(os.path.basename(file))[0], file)
    function = getattr(module, name, None)
    if function is None:
        own = module.__name__
        callables = [n for n, f in vars(module).items() if callable(f) and getattr(f, "__module__", "") == own]
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
    """The module `name` that a file defines."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise Unusable("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def problem(error: BaseException, file: str) -> str:
    """One line for whatever was raised, with the place in the user's file."""
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
    """Serve the parent until it goes away."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path[0] = folder  # in the place of this file's own, whose names are none of the user's business
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
                answer = {"torch": torch.__version__, "python": sys.version.split()[0]}
            else:
                answer = getattr(calls, request["op"])(request)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            torch.set_grad_enabled(True)
            answer = {"problem": problem(error, request.get("file") or calls.file)}  # type: ignore[union-attr]
        connection.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
