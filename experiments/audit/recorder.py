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
    """A loss function that remembers on which points it was called, and where in `file` it was differentiated.

    namespace: the globals of the user's function, which may name `torch.autograd.grad` by itself.
    """

    def __init__(self, loss: Loss, support_y: Tensor, query_y: Tensor, file: str, namespace: dict[str, Any]) -> None:
        self.loss, self.parts = loss, {"support": support_y, "query": query_y}
        self.file, self.namespace = file, namespace
        self.calls = {"support": 0, "query": 0, "other": 0, "without gradient": 0}
        self.losses: list[tuple[str, Tensor]] = []
        self.found: dict[str, int] = {}
        self.others: set[int] = set()
        """Lines of gradients of what is no loss by itself, once query losses were taken: of their mean, perhaps."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss, counted; what is taken without gradients is a log's."""
        part, value = self._part(target), self.loss(prediction, target)
        self.calls[part] += 1
        if not torch.is_grad_enabled():
            self.calls["without gradient"] += 1
        elif line := self._line():
            self.losses.append((part, value))
            self.found.setdefault(part, line)
            self.found[f"last {part}"] = line
        return value

    @property
    def lines(self) -> dict[str, int]:
        """Lines of the first and last support and query loss, and of their gradients, as far as they are known."""
        if "query gradient" not in self.found and len(self.others) == 1:
            return {**self.found, "query gradient": next(iter(self.others))}
        return self.found

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Remember where derivatives are taken, too."""
        own = [name for name, value in self.namespace.items() if value is torch.autograd.grad]
        originals = [(torch.autograd, "grad", torch.autograd.grad), (torch.Tensor, "backward", torch.Tensor.backward)]
        grad = torch.autograd.grad
        for owner, name, original in originals:
            setattr(owner, name, self._watched(original))
        self.namespace.update(dict.fromkeys(own, torch.autograd.grad))
        try:
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)
            self.namespace.update(dict.fromkeys(own, grad))

    def _watched(self, original: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            of = arguments[0] if arguments else options.get("outputs")
            outputs = of if isinstance(of, (tuple, list)) else [of]
            parts = [part for part, loss in self.losses if any(loss is output for output in outputs)]
            if line := self._line():
                for part in parts:
                    self.found.setdefault(f"{part} gradient", line)
                if not parts and self.calls["query"]:
                    self.others.add(line)
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
