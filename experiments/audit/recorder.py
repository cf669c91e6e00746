"""What is seen of a call of a user's function; a standalone file like the child's, which loads it by its path."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


class Recorder:
    """A loss function that remembers on which points it was called, and where in `file` what was differentiated."""

    def __init__(self, loss: Loss, support_y: Tensor, query_y: Tensor, file: str) -> None:
        self.loss, self.parts, self.file = loss, {"support": support_y, "query": query_y}, file
        self.calls = {"support": 0, "query": 0, "other": 0, "without gradient": 0}
        self.lines: dict[str, int] = {}
        """Lines of the first support and the last query loss, and of the gradients that were taken of them."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss, counted."""
        part = self._part(target)
        self.calls[part] += 1
        self.calls["without gradient"] += not torch.is_grad_enabled()
        if part == "query" or "support" not in self.lines:
            self._remember(part)
        return self.loss(prediction, target)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Remember where derivatives are taken, too."""
        places = (torch.autograd, "grad"), (torch.Tensor, "backward")
        originals = [(owner, name, getattr(owner, name)) for owner, name in places]

        def watched(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if self.calls["query"]:
                    self._remember("query gradient")
                elif "support gradient" not in self.lines:
                    self._remember("support gradient")
                return original(*arguments, **options)

            return call

        for owner, name, original in originals:
            setattr(owner, name, watched(original))
        try:
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)

    def _remember(self, what: str) -> None:
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename != self.file:
            frame = frame.f_back  # type: ignore[assignment]
        if frame:
            self.lines[what] = frame.f_lineno

    def _part(self, target: Tensor) -> str:
        with contextlib.suppress(Exception):  # inside a transformation a tensor may have no values
            for part, tasks in self.parts.items():
                if any(torch.equal(target, task) for task in tasks):
                    return part
        return "other"
