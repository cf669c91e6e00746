"""Start the worker that runs a user's `meta_step`, and ask it for calls."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from experiments.audit.probes import Probe
from experiments.harness.processes.isolate import Lost, Worker
from experiments.harness.records import Status
from experiments.judging.verify import Weights

WORKER = Path(__file__).with_name("worker.py")
LOADING_S = 300.0  # for importing what the user's file imports
REPEATING_S = 10.0  # for the calls between which memory is measured


class Unusable(Exception):
    """Raised where a function cannot be audited; the message says why, in one line."""


class Refused(Exception):
    """Raised where the function raised in a call; the message is that of its exception, with the line."""


@dataclass(frozen=True)
class Target:
    """A function to audit: its file and name, the interpreter that runs it, and the seconds that each call may take."""

    file: Path
    function: str
    timeout: float = 60.0
    python: str = sys.executable


@dataclass(frozen=True)
class Call:
    """The result of one call of the user's function.

    grads: the gradient of every parameter, in float64; zeros where there was none, and then it is named in `without`.
    changed: names of what the call changed, by kind: weights, modes, "grad mode", …
    returned: the gradients were returned, and none left in `.grad`.
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
        """Tell whether all gradients are finite."""
        return all(np.isfinite(g).all() for g in self.grads.values())


class Session:
    """A fresh worker that has loaded the user's file; use it in a `with` statement.

    Raises Unusable where the file or the function cannot be used, and where the worker dies or hangs.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        command = [target.python, str(WORKER)]
        self.worker = Worker(1, command, [str(target.file.parent)])
        request = {"op": "load", "file": str(target.file), "function": target.function}
        try:
            self.versions = self._ask(request, max(LOADING_S, target.timeout), "while its file was loaded")
        except Refused as error:
            self.worker.close(gently=False)
            raise Unusable(str(error)) from None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.worker.close(gently=False)

    def call(self, probe: Probe, dtype: str = "float64", seed: int = 0, **more: Any) -> Call:
        """Call the function once with a probe's arguments and seeded random generators.

        more: further entries of the request. Raises Refused where the function raises.
        """
        request = probe.request(dtype) | {"seed": seed} | more
        answer = self._ask(request, self.target.timeout, f"in a call with {probe.called_with}")
        if kind := answer["unusable_type"]:
            raise Unusable(f"{self.target.function} left no gradient and returned {kind}, not gradients or a loss")
        grads = answer["grads"]
        return Call(
            {
                name: np.zeros_like(probe.theta[name]) if grad is None else np.array(grad)
                for name, grad in grads.items()
            },
            tuple(name for name, grad in grads.items() if grad is None),
            answer["changed"],
            answer["returned"],
            answer["calls"] or {},
            answer["lines"] or {},
        )

    def growth(self, probe: Probe, dtype: str, repeat: int) -> float | None:
        """Measure by how many bytes each of `repeat` calls makes the worker grow; None where calls are too slow.

        Raises Refused where the function raises.
        """
        request = probe.request(dtype) | {"op": "memory", "repeat": repeat, "seconds": REPEATING_S}
        limit = REPEATING_S + self.target.timeout
        growth: float | None = self._ask(request, limit, f"in {repeat} calls one after the other")["growth"]
        return growth

    def _ask(self, request: dict[str, Any], timeout: float, when: str) -> dict[str, Any]:
        self.worker.send_bytes(json.dumps(request).encode(), timeout)
        try:
            answer: dict[str, Any] = json.loads(self.worker.receive_bytes())
        except Lost as lost:
            reason = f"it took longer than {timeout:g} s" if lost.status == Status.TIMEOUT else str(lost)
            raise Unusable(f"{reason}, {when}") from None
        if "raised" in answer:
            raise Refused(answer["raised"])
        return answer
