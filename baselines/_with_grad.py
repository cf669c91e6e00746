"""One call of what gets its gradients from `backward`: libraries, and code that is written like theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from baselines._eager import GROWS, PAST, Eager
from baselines._random import RandomState
from baselines.contract import TaskBatch


class WithGrad(Eager):
    """An implementation that finds its gradients in the parameters' `.grad`."""

    @contextmanager
    def call(self, batch: TaskBatch) -> Iterator[TaskBatch]:
        """As `Eager` does; every `.grad` is None before, and what it was afterwards.

        The model has other parameters with the values of its own: nobody but a library that asks it meets them.
        """
        with super().call(batch) as own:
            if not self.theta:
                raise RuntimeError("no parameter of the model requires a gradient")
            if self.network.buffers:
                self._refuse_memory(own.support_x[0], own.support_y[0])
            before = [(p, p.grad) for p in self.theta.values()]
            for p in self.theta.values():
                p.grad = None
            try:
                alike = self.theta  # to torch's own layers, nobody has given them
                if not self.stock:
                    alike = {name: nn.Parameter(p.detach()) for name, p in self.theta.items()}
                with self.network.holding(alike | self.network.buffers):
                    yield own
                if not self.stock and any(p.grad is not None for p in self.theta.values()):
                    raise RuntimeError(PAST)
            finally:
                for p, grad in before:
                    p.grad = grad

    def forget(self, learner: nn.Module) -> None:
        """Take its tensors from a library's copy of the model: whoever reads one from here on gets a RuntimeError."""
        if self.stock:  # nobody does
            return
        absence = next(iter(self.absence.values()))
        for module in learner.modules():
            containers: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for places in containers:
                for key in [key for key, tensor in places.items() if tensor is not None]:
                    places[key] = absence

    def refuse_growth(self, learner: nn.Module) -> None:
        """Raise RuntimeError where a library's copy of the model has got parameters that the model does not have."""
        pairs = () if self.stock else zip(self.network.model.modules(), learner.modules(), strict=False)
        for own, module in pairs:
            attributes = {key for key, part in vars(module).items() if isinstance(part, nn.Parameter)}
            if not attributes | module._parameters.keys() <= own._parameters.keys():
                raise RuntimeError(GROWS)

    def _refuse_memory(self, x: Tensor, y: Tensor) -> None:
        """Raise RuntimeError where a forward depends on buffers that an earlier one, at other parameters, has changed.

        In a library the forwards of a task change them one after the other, where each of ours has the model's.
        """
        ramps = {name: torch.linspace(-0.1, 0.1, p.numel(), device=p.device) for name, p in self.theta.items()}
        moved = {name: (p * (1 + ramps[name].view_as(p))).detach() for name, p in self.theta.items()}
        now, losses = RandomState(self.spec.device), []
        fresh, changed = ({name: b.clone() for name, b in self.network.buffers.items()} for _ in range(2))
        with torch.no_grad():
            for tensors in (fresh, changed | moved, changed):
                with now.again(), self.network.holding(tensors):
                    losses.append(self.spec.loss(self.spec.model(x.clone()), y.clone()))
        tolerance = 1e3 * torch.finfo(losses[0].dtype).eps
        if not torch.allclose(losses[0], losses[2], rtol=tolerance, atol=0, equal_nan=True):
            raise RuntimeError("a forward depends on buffers that the one before has changed, and this is not undone")
