"""The conversation with the process that runs a user's `meta_step`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from experiments.audit.probes import Probe
from experiments.harness.processes.isolate import Child, Lost
from experiments.judging.verify import Weights

CHILD = Path(__file__).with_name("child.py")
LOADING_S = 300.0
REPEATING_S = 10.0


class Unusable(Exception):
    """The function cannot be audited; the message says what is wrong with it, in one line."""


class Refused(Exception):
    """The function raised in a call; the message is its own, with the line."""


@dataclass(frozen=True)
class Target:
    """What is audited: a function in a file, run by an interpreter, with a time limit in seconds for each call."""

    file: Path
    function: str
    timeout: float = 60.0
    python: str = sys.executable


@dataclass(frozen=True)
class Call:
    """What one call left behind.

    grads: of every parameter, in float64, zeros where there was none; None entries are in `without`.
    changed: names of what is not as it was, by kind: weights, modes, "grad mode", …
    returned: the gradients were returned, and none left.
    loss_calls, lines: where calls are recorded, how often the loss was called on which points, and in which lines.
    """

    grads: Weights
    without: tuple[str, ...]
    changed: dict[str, list[str]]
    returned: bool = False
    loss_calls: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return all(np.isfinite(g).all() for g in self.grads.values())


class Session:
    """A fresh process with the user's file loaded; use it in a `with` statement.

    Raises Unusable where the file or function cannot be used, and where the process dies or hangs.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        command = [target.python, str(CHILD)]
        self.child = Child(1, command, [str(target.file.parent)])
        loaded = {"op": "load", "file": str(target.file), "function": target.function}
        try:
            self.versions = self._ask(loaded, max(LOADING_S, target.timeout), "while its file was loaded")
        except Refused as error:
            self.child.close(gently=False)
            raise Unusable(str(error)) from None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.child.close(gently=False)

    def call(self, probe: Probe, dtype: str = "float64", seed: int = 0, **more: Any) -> Call:
        """One call, the generators of random numbers set to `seed`; raises Refused with what the function raised."""
        request = probe.request(dtype) | {"seed": seed} | more
        answer = self._ask(request, self.target.timeout, f"in a call with {probe.called_with}")
        if kind := answer["nonsense"]:
            raise Unusable(f"{self.target.function} left no gradient and returned {kind}, not gradients or a loss")
        found = answer["grads"]
        return Call(
            {
                name: np.zeros_like(probe.theta[name]) if grad is None else np.array(grad)
                for name, grad in found.items()
            },
            tuple(name for name, grad in found.items() if grad is None),
            answer["changed"],
            answer["returned"],
            answer["calls"] or {},
            answer["lines"] or {},
        )

    def growth(self, probe: Probe, dtype: str, repeat: int) -> float | None:
        """Bytes by which the process grows a call, None where calls are too slow; raises Refused like `call`."""
        request = probe.request(dtype) | {"op": "memory", "repeat": repeat, "seconds": REPEATING_S}
        limit = REPEATING_S + self.target.timeout
        growth: float | None = self._ask(request, limit, f"in {repeat} calls one after the other")["growth"]
        return growth

    def _ask(self, request: dict[str, Any], timeout: float, when: str) -> dict[str, Any]:
        self.child.send(request, timeout)
        try:
            answer = self.child.receive()
        except Lost as lost:
            reason = f"it took longer than {timeout:g} s" if lost.status == "timeout" else str(lost)
            raise Unusable(f"{reason}, {when}") from None
        if "problem" in answer:
            raise Refused(answer["problem"])
        return answer
