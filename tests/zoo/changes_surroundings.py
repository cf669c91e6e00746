"""What surrounds a call: modes, defaults, the process, the machine."""

import contextlib
import contextvars
import decimal
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.zoo.records import DOUBLE, Change, Net, attribute, done, mlp, net

CONTEXT: contextvars.ContextVar[float] = contextvars.ContextVar("scale", default=1.0)
LOG = logging.getLogger("maml-bench.zoo")
BY_DTYPE = {torch.float32: 1.0, torch.bfloat16: 3.0, torch.float16: 5.0, torch.float64: 7.0}
ONE = torch.ones(1, 1)


class ScalingFunctions(TorchFunctionMode):
    """Triples torch.tanh."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        factor = 3 if getattr(func, "__name__", "") == "tanh" else 1
        return func(*args, **(kwargs or {})) * factor if factor > 1 else func(*args, **(kwargs or {}))


class ScalingOperations(TorchDispatchMode):
    """Triples sine."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 3 if func is torch.ops.aten.erf.default else result


class Erf(nn.Module):
    """An activation that nothing else uses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x plus the error function of a constant."""
        return x * torch.erf(torch.ones(1, dtype=DOUBLE))


def with_erf() -> nn.Sequential:
    """A network with an operation that a mode changes."""
    return nn.Sequential(*mlp(), Erf())


def with_file() -> Net:
    """A network that reads a file in each forward."""
    model = net(lambda m: float(Path(m.folder.name, "scale").read_text()))()
    model.folder = TemporaryDirectory()
    Path(model.folder.name, "scale").write_text("1.0")
    return model


def written(model: Net, text: str) -> AbstractContextManager[None]:
    """The file says something else."""
    file = Path(model.folder.name, "scale")
    return done(lambda: file.write_text(text), lambda: file.write_text("1.0"))


def changed(get: Callable[[], Any], put: Callable[[Any], object], value: Any) -> AbstractContextManager[None]:
    """A setting of the process."""
    before = get()
    return done(lambda: put(value), lambda: put(before))


class Rounded(Net):
    """A network in float32 whose hidden activations are 0 where products are in bfloat16, however they round."""

    def __init__(self) -> None:
        super().__init__()
        self.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As Net's."""
        return self.b(torch.tanh(self.a(x) + 2048 - 2048) + 1)  # type: ignore[no-any-return]


class Overflowing(Rounded):
    """A network in float32 whose hidden activations are 1 where products are in float16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As Net's."""
        return self.b(torch.tanh((self.a(x).abs() + 0.1) * 1e6 * 1e-6))  # type: ignore[no-any-return]


def autocast(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Autocast on the CPU; its cache would give a context within another one the other's dtype."""
    return torch.autocast("cpu", dtype=dtype, cache_enabled=False)


def bfloat16() -> AbstractContextManager[Any]:
    """Autocast to bfloat16."""
    return autocast(torch.bfloat16)


CHANGES = (
    Change(
        "an environment variable",
        net(lambda m: float(os.environ.get("ZOO_SCALE", "1"))),
        lambda m, _: patch.dict(os.environ, ZOO_SCALE="3"),
        telling=True,
    ),
    Change(
        "the time",
        net(lambda m: 3.0 if time.time() > 1e11 else 1.0),
        lambda m, _: patch.object(time, "time", lambda: 2e11),
    ),
    Change(
        "a time that has come",
        net(lambda m: 1.0 + 2.0 * (time.monotonic() > m.deadline), deadline=float("inf")),
        lambda m, _: patch.object(m, "deadline", 0.0),
    ),
    Change("a file", with_file, lambda m, _: written(m, "3.0")),
    Change(
        "a file that is there",
        net(lambda m: 3.0 if m.path.exists() else 1.0, path=Path("/nonexistent")),
        lambda m, _: patch.object(m, "path", Path("/")),
    ),
    Change(
        "the folder of the process", net(lambda m: float(os.getcwd() == "/") + 1.0), lambda m, _: contextlib.chdir("/")
    ),
    Change("a context variable", net(lambda m: CONTEXT.get()), lambda m, _: _context(3.0)),
    Change(
        "the name of the thread",
        net(lambda m: float(len(threading.current_thread().name))),
        lambda m, _: attribute(threading.current_thread(), "name", "x" * 30),
    ),
    Change(
        "the number of threads",
        net(lambda m: float(torch.get_num_threads())),
        lambda m, _: changed(torch.get_num_threads, torch.set_num_threads, 2),
    ),
    Change(
        "a logger's level",
        net(lambda m: 3.0 if LOG.isEnabledFor(logging.DEBUG) else 1.0),
        lambda m, _: changed(lambda: LOG.level, LOG.setLevel, logging.DEBUG),
    ),
    Change("the context of decimals", net(lambda m: float(decimal.Decimal(4) / 3)), lambda m, _: _precision()),
    Change(
        "NumPy's settings",
        net(lambda m: 3.0 if np.geterr()["over"] == "raise" else 1.0),
        lambda m, _: np.errstate(over="raise"),
    ),
    Change(
        "the arguments of the program",
        net(lambda m: float(len(sys.argv))),
        lambda m, _: patch.object(sys, "argv", ["x"] * 20),
    ),
    Change(
        "the default dtype",
        net(lambda m: BY_DTYPE[torch.tensor(1.0).dtype]),
        lambda m, _: changed(torch.get_default_dtype, torch.set_default_dtype, DOUBLE),
    ),
    Change(
        "the default dtype, by a factory",
        net(lambda m: BY_DTYPE[torch.get_default_dtype()]),
        lambda m, _: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float16),
    ),
    Change("autocast on", net(lambda m: BY_DTYPE[(ONE @ ONE).dtype]), lambda m, _: bfloat16()),
    Change(
        "autocast off",
        net(lambda m: BY_DTYPE[(ONE @ ONE).dtype]),
        lambda m, _: torch.autocast("cpu", enabled=False),
        around=bfloat16,
    ),
    Change(
        "autocast's dtype",
        net(lambda m: BY_DTYPE[(ONE @ ONE).dtype]),
        lambda m, _: autocast(torch.float16),
        around=bfloat16,
        telling=True,
    ),
    Change("autocast on, in float32", Rounded, lambda m, _: bfloat16(), dtype=torch.float32, tolerance=0.02),
    Change(
        "autocast's dtype, in float32",
        Rounded,
        lambda m, _: autocast(torch.float16),
        around=bfloat16,
        dtype=torch.float32,
        tolerance=0.02,
    ),
    Change(
        "whether autocast caches",
        net(lambda m: 3.0 if torch.is_autocast_cache_enabled() else 1.0),
        lambda m, _: changed(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled, False),
    ),
    Change(
        "whether operations are deterministic",
        net(lambda m: 1.0 + 2.0 * torch.are_deterministic_algorithms_enabled()),
        lambda m, _: changed(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
    ),
    Change(
        "the precision of products",
        net(lambda m: float(len(torch.get_float32_matmul_precision()))),
        lambda m, _: changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high"),
    ),
    Change("a mode of torch's functions", net(lambda m: 1.0), lambda m, _: ScalingFunctions()),
    Change("a mode of torch's operations", with_erf, lambda m, _: ScalingOperations()),  # type: ignore[no-untyped-call]
)


def _context(value: float) -> AbstractContextManager[None]:
    tokens: list[contextvars.Token[float]] = []
    return done(lambda: tokens.append(CONTEXT.set(value)), lambda: CONTEXT.reset(tokens.pop()))


def _precision() -> AbstractContextManager[Any]:
    return decimal.localcontext(decimal.Context(prec=1))
