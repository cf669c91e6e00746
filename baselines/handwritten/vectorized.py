"""Second-order MAML in plain torch.func: the meta-gradient of one task as a function, and `vmap` of that over tasks.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   meta-gradient = mean over tasks of ∇_θ Q(φ_K)

All tasks go through each operation together, so there are fewer and larger ones; the graphs of all tasks are alive
together, too. Where each task has convolution weights of its own they become grouped convolutions, which are slow.

`grad` has to stand inside `vmap`. The other way round, `grad` of the mean over a `vmap`, PyTorch gives wrong second
derivatives of batch and layer normalisation without a word, and right first ones (torch 2.13; functorch issue 534 is
near).
"""

from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from baselines._shared.functional import Functional, differentiate
from baselines._shared.module_state import compiled_by_torch
from baselines._shared.refusals import Refusing
from baselines.contract import Computes, MetaGradient, Params, Spec, TaskBatch


class Vectorized(Functional):
    """`unrolled` for all tasks at once: any `nn.Module` that `vmap` takes, any number of inner steps."""

    computes: ClassVar[Computes] = "maml"

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It takes modules that torch.func can enter; this is asked in every call."""
        if compiled_by_torch(spec.model):
            return "torch.func cannot enter what torch.compile made"
        return super().unavailable(spec)

    refusing: ClassVar[type[Refusing]] = Refusing

    def loss(self, phi: Params, x: Tensor, y: Tensor, buffers: Params | None = None) -> Tensor:
        """The mean loss over points; raises RuntimeError for what torch.func would leave out of its derivatives."""
        with nullcontext() if self.stock else self.refusing():
            return super().loss(phi, x, y, buffers)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the gradient of the query loss."""
        one = vmap(grad_and_value(self.adapted_loss), (None, 0, 0, 0, 0, 0), randomness="different")
        with self.call(prepared) as batch:
            grads, losses = one(self.start(), *batch, self.buffers(len(batch.support_x)))
            return self.result(grads, losses)

    def start(self) -> Params:
        """θ, for torch.func: what else still requires a gradient is not what it was told to differentiate by."""
        return {name: p.detach() for name, p in self.theta.items()}

    def result(self, grads: Params, losses: Tensor) -> MetaGradient:
        """The means over tasks; grads are (tasks, …) each."""
        return MetaGradient(losses.detach(), {name: g.mean(0) for name, g in self.checked(grads, losses).items()})

    def checked(self, grads: Params, losses: Tensor) -> Params:
        """The gradients, attached to nothing; raises RuntimeError if they use a θ that φ did not stand for."""
        if attached := [part.real.sum() for part in (losses, *grads.values()) if part.requires_grad]:
            differentiate(torch.stack(attached).sum(), {}, strangers=self.theta.values())
            return {name: g.detach() for name, g in grads.items()}
        return grads

    def adapted_loss(
        self, theta: Params, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor, buffers: Params
    ) -> Tensor:
        """Q(φ_K) of one task; scalar."""
        return self.loss(self.adapted(theta, support_x, support_y, buffers), query_x, query_y, buffers)

    def adapted(self, theta: Params, x: Tensor, y: Tensor, buffers: Params) -> Params:
        """φ_K of one task."""
        phi = theta
        for _ in range(self.spec.inner.steps):
            grads = grad(self.loss)(phi, x, y, buffers)
            phi = {name: p - self.spec.inner.lr * grads[name] for name, p in phi.items()}
        return phi
