"""Record how often and where a function takes losses and derivatives; a standalone file that the worker loads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


class Recorder:
    """A loss function that counts its calls by kind of points, and records the lines that differentiate it.

    file: the user's file, whose lines are recorded.
    namespace: the globals of the user's function, which may hold `torch.autograd.grad` under a name of their own.
    calls: how often it was called on "support", "query" and "other" points, and "without gradient".
    """

    def __init__(self, loss: Loss, support_y: Tensor, query_y: Tensor, file: str, namespace: dict[str, Any]) -> None:
        self.loss, self.parts = loss, {"support": support_y, "query": query_y}
        self.file, self.namespace = file, namespace
        self.calls = {"support": 0, "query": 0, "other": 0, "without gradient": 0}
        self.losses: list[tuple[str, Tensor]] = []
        self.known_lines: dict[str, int] = {}
        self.other_lines: set[int] = set()
        """Lines that differentiate something else than a recorded loss, after a query loss: perhaps a mean."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, and count the call; a loss taken without gradients, as for a log, has no line."""
        part, value = self._part(target), self.loss(prediction, target)
        self.calls[part] += 1
        if not torch.is_grad_enabled():
            self.calls["without gradient"] += 1
        elif line := self._line():
            self.losses.append((part, value))
            self.known_lines.setdefault(part, line)
            self.known_lines[f"last {part}"] = line
        return value

    @property
    def lines(self) -> dict[str, int]:
        """Return the lines of the first and last support and query loss, and of their gradients, as far as known."""
        if "query gradient" not in self.known_lines and len(self.other_lines) == 1:
            return {**self.known_lines, "query gradient": next(iter(self.other_lines))}
        return self.known_lines

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record where derivatives are taken, too, as long as the context lasts."""
        aliases = [name for name, value in self.namespace.items() if value is torch.autograd.grad]
        originals = [(torch.autograd, "grad", torch.autograd.grad), (torch.Tensor, "backward", torch.Tensor.backward)]
        grad = torch.autograd.grad
        for owner, name, original in originals:
            setattr(owner, name, self._watched(original))
        self.namespace.update(dict.fromkeys(aliases, torch.autograd.grad))
        try:
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)
            self.namespace.update(dict.fromkeys(aliases, grad))

    def _watched(self, original: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            first = arguments[0] if arguments else options.get("outputs")
            outputs = first if isinstance(first, (tuple, list)) else [first]
            parts = [part for part, loss in self.losses if any(loss is output for output in outputs)]
            if line := self._line():
                for part in parts:
                    self.known_lines.setdefault(f"{part} gradient", line)
                if not parts and self.calls["query"]:
                    self.other_lines.add(line)
            return original(*arguments, **options)

        return call

    def _line(self) -> int | None:
        frame = sys._getframe(2)
        while frame and frame.f_code.co_filename != self.file:
            frame = frame.f_back  # type: ignore[assignment]
        return frame.f_lineno if frame else None

    def _part(self, target: Tensor) -> str:
        with contextlib.suppress(Exception):  # inside a transformation a tensor may have no values
            for part, tasks in self.parts.items():
                if any(torch.equal(target, task) for task in tasks):
                    return part
        return "other"
