"""Second-order MAML with TorchOpt 0.7.3's functional optimizer, all tasks at once.

    φₖ₊₁ = φₖ + u(∇S(φₖ))       u = `torchopt.sgd(α).update`, out of place, so that it can be differentiated
    meta-gradient = mean of vmap over tasks of ∇_θ Q(φ_K)

Source: https://torchopt.readthedocs.io/en/latest/explicit_diff/explicit_diff.html, "Functional API", and
`examples/FuncTorch/maml_omniglot_vmap.py` of its repository (https://github.com/metaopt/torchopt): `grad`, `update` and
`apply_updates(inplace=False)` inside a `vmap` over tasks. What it takes from functorch is in `torch.func` now.

Where the example goes `backward` through the vmapped losses, this takes the gradient inside the vmap. The other way
round PyTorch (2.13) is wrong, and does not say so, for batch and layer normalisation with a weight: as vmap writes it
out, that weight's gradient takes mean and variance for constants, so what reaches the layers before is wrong
(https://github.com/pytorch/functorch/issues/534 is near).
"""

from typing import ClassVar

import torchopt
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value, vmap

from baselines.contract import Baseline, Computes, MetaGradient, Params, Spec, TaskBatch, trainable


class TorchOptVectorized(Baseline):
    """`torchopt.sgd` in `torch.func.vmap`."""

    computes: ClassVar[Computes] = "maml"
    library = "torchopt"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.optimizer = torchopt.sgd(lr=spec.inner.lr)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The gradients of all tasks' adapted losses, then their mean."""
        tasks = len(prepared.support_x)
        theta = {name: p.detach() for name, p in trainable(self.spec.model).items()}
        # Every task writes to its own copy of the running statistics: (tasks, …) each.
        buffers = {name: b.expand(tasks, *b.shape).clone() for name, b in self.spec.model.named_buffers()}
        over_tasks = vmap(grad_and_value(self.adapted_loss), in_dims=(None, 0, 0, 0, 0, 0), randomness="different")
        grads, losses = over_tasks(theta, buffers, *prepared)  # (tasks, …) each, (tasks,)
        return MetaGradient(losses, {name: g.mean(0) for name, g in grads.items()})

    def adapted_loss(
        self, theta: Params, buffers: Params, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor
    ) -> Tensor:
        """Q(φ_K) of one task; scalar."""
        phi, state = theta, self.optimizer.init(theta)
        for _ in range(self.spec.inner.steps):
            grads = grad(self.loss)(phi, buffers, support_x, support_y)
            updates, state = self.optimizer.update(grads, state, params=phi, inplace=False)
            phi = torchopt.apply_updates(phi, updates, inplace=False)
        return self.loss(phi, buffers, query_x, query_y)

    def loss(self, phi: Params, buffers: Params, x: Tensor, y: Tensor) -> Tensor:
        """The loss of one task at parameters φ; scalar."""
        own = {name: b.clone() for name, b in buffers.items()}
        return self.spec.loss(functional_call(self.spec.model, phi | own, (x,)), y)
