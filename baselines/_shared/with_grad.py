"""One call of what gets its gradients from `backward`: libraries, and code that is written like theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from baselines._shared.eager import GROWS, PAST, Eager
from baselines._shared.functional import leaves
from baselines._shared.module_state import unchanged
from baselines._shared.random_state import RandomState
from baselines.contract import Spec, TaskBatch


class WithGrad(Eager):
    """An implementation that finds its gradients in the parameters' `.grad`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.attributes: list[Any] = []
        """Those of the modules when they were last asked whether a forward remembers anything, which takes three."""

    @contextmanager
    def call(self, batch: TaskBatch) -> Iterator[TaskBatch]:
        """As `Eager` does; every `.grad` is None before, and what it was afterwards.

        The model has other parameters with the values of its own: nobody but a library that asks it meets them.
        """
        with super().call(batch) as own:
            if not self.theta:
                raise RuntimeError("no parameter of the model requires a gradient")
            if self.network.buffers or (not self.stock and self._is_another_module()):
                self.attributes = []  # until it has passed
                self._refuse_memory(own.support_x[0], own.support_y[0])
                self.attributes = self._present_attributes()
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
        """Put what is in the places of the model, while absent, into those of a library's copy of it."""
        pairs = () if self.stock else zip(_places(self.spec.model), _places(learner), strict=True)
        for own, module in pairs:
            module._parameters.update(own._parameters)
            module._buffers.update(own._buffers)

    def refuse_growth(self, learner: nn.Module) -> None:
        """Raise RuntimeError where a library's copy of the model has got parameters that the model does not have."""
        pairs = () if self.stock else zip(_places(self.network.model), _places(learner), strict=False)
        for own, module in pairs:
            attributes = {key for key, part in vars(module).items() if isinstance(part, nn.Parameter)}
            if not attributes | module._parameters.keys() <= own._parameters.keys():
                raise RuntimeError(GROWS)

    def _present_attributes(self) -> list[Any]:
        return [value for module in self.spec.model.modules() for value in vars(module).values()]

    def _is_another_module(self) -> bool:
        now = self._present_attributes()
        return len(now) != len(self.attributes) or not all(map(is_, now, self.attributes))

    def _refuse_memory(self, x: Tensor, y: Tensor) -> None:
        """Raise RuntimeError where a forward depends on what an earlier one, at other parameters, left in the module.

        In a library a task's forwards change buffers, and fill caches, one after the other; each of ours starts anew.
        """
        alone, after = self._last_loss((0.0,), x, y), self._last_loss((0.1, 0.0), x, y)
        if not torch.allclose(alone, after, rtol=1e3 * torch.finfo(alone.dtype).eps, atol=0, equal_nan=True):
            raise RuntimeError("a forward depends on what an earlier one left in the module, which is not undone there")

    def _last_loss(self, spreads: tuple[float, ...], x: Tensor, y: Tensor) -> Tensor:
        """The loss after forwards at parameters that differ from θ by up to these factors in turn; scalar."""
        buffers = {name: b.clone() for name, b in self.network.buffers.items()}
        random, loss = RandomState(self.spec.device), torch.zeros(())
        with unchanged(self.spec.model):
            for spread in spreads:
                ramps = {name: torch.linspace(-spread, spread, p.numel()).view_as(p) for name, p in self.theta.items()}
                phi = leaves({name: p * (1 + ramps[name].to(p)) for name, p in self.theta.items()})
                with random.again(), self.network.holding(buffers | phi):
                    loss = self.spec.loss(self.spec.model(x.clone()), y.clone()).detach()
        return loss


def _places(model: nn.Module) -> list[nn.Module]:
    """The modules, each in every place that it has: a copy may hold one for each."""
    return [module for _, module in model.named_modules(remove_duplicate=False)]
