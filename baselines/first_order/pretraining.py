"""Pre-training: joint training on all tasks' support points, without an inner loop.

    result = mean over tasks of ∇S(θ)

The baseline of Finn et al. 2017, section 5.1, and what one plain gradient of the meta-batch costs.
"""

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from baselines._shared.module_state import lowers
from baselines._shared.refusals import RefusingToTell
from baselines.contract import MetaGradient, Params, Spec, TaskBatch
from baselines.handwritten.vectorized import Vectorized


class Pretraining(Vectorized):
    """The gradient of the mean support loss: any `nn.Module` that `vmap` takes."""

    computes = "pretraining"
    refusing = RefusingToTell

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """Where `vmap` stands inside `grad`, autocast is left out of what is inside; this is asked in every call."""
        if lowers(spec.device) and spec.dtype is torch.float32:
            return "autocast is left out of the gradient of a vmap"
        return super().unavailable(spec)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One plain gradient; no query losses, since it never looks at the query points."""
        with self.call(prepared) as batch:
            buffers = self.buffers(len(batch.support_x))

            def mean(theta: Params) -> Tensor:
                losses: Tensor = vmap(self.loss, (None, 0, 0, 0), randomness="different")(
                    theta, batch.support_x, batch.support_y, buffers
                )
                return losses.mean()

            grads, loss = grad_and_value(mean)(self.start())
            return MetaGradient(None, self.checked(grads, loss))
