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

import torchopt
from torch import Tensor
from torch.func import grad

from baselines.contract import Params, Spec
from baselines.handwritten.vectorized import Vectorized


class TorchOptVectorized(Vectorized):
    """`vectorized` with `torchopt.sgd` for the inner steps."""

    library = "torchopt"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.optimizer = torchopt.sgd(lr=spec.inner.lr)

    def adapted(self, theta: Params, x: Tensor, y: Tensor, buffers: Params) -> Params:
        """φ_K of one task."""
        phi, state = theta, self.optimizer.init(theta)
        for _ in range(self.spec.inner.steps):
            grads = grad(self.loss)(phi, x, y, buffers)
            updates, state = self.optimizer.update(grads, state, params=phi, inplace=False)
            phi = torchopt.apply_updates(phi, updates, inplace=False)
        return phi
