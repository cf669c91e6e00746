"""Second-order MAML in plain torch.func: the meta-gradient of one task as a function, and `vmap` of that over tasks.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   meta-gradient = mean over tasks of ∇_θ Q(φ_K)

All tasks go through each operation together, so there are fewer and larger ones; the graphs of all tasks are alive
together, too. Where each task has convolution weights of its own they become grouped convolutions, which are slow.

`grad` has to stand inside `vmap`. The other way round, `grad` of the mean over a `vmap`, PyTorch gives wrong second
derivatives of batch and layer normalisation without a word, and right first ones (torch 2.13; functorch issue 534 is
near).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import ClassVar

from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from baselines._functional import Functional
from baselines._modules import RefusingData, unchanged
from baselines.contract import Computes, MetaGradient, Params, Spec, TaskBatch, trainable


class Vectorized(Functional):
    """`unrolled` for all tasks at once: any `nn.Module` that `vmap` takes, any number of inner steps."""

    computes: ClassVar[Computes] = "maml"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.checked = False

    @contextmanager
    def transformed(self) -> Iterator[None]:
        """Around torch.func's transformations: the model keeps none of their tensors, and reads no `.data`."""
        with unchanged(self.spec.model), nullcontext() if self.checked else RefusingData():
            yield
        self.checked = True

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the gradient of the query loss."""
        theta = {name: p.detach() for name, p in trainable(self.spec.model).items()}
        one = vmap(grad_and_value(self.adapted_loss), (None, 0, 0, 0, 0, 0), randomness="different")
        with self.transformed():
            grads, losses = one(theta, *prepared, self.buffers(len(prepared.support_x)))
        return MetaGradient(losses, {name: g.mean(0) for name, g in grads.items()})

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
