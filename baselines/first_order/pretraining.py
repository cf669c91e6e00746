"""Pre-training: joint training on all tasks' support points, without an inner loop.

    result = mean over tasks of ∇S(θ)

The baseline of Finn et al. 2017, section 5.1, and what one plain gradient of the meta-batch costs.
"""

from torch import Tensor
from torch.func import grad, vmap

from baselines._functional import Functional
from baselines.contract import MetaGradient, Params, TaskBatch, trainable


class Pretraining(Functional):
    """The gradient of the mean support loss: any `nn.Module` that `vmap` takes."""

    computes = "pretraining"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One plain gradient; no query losses, since it never looks at the query points."""
        theta = {name: p.detach() for name, p in trainable(self.spec.model).items()}
        buffers = self.buffers(len(prepared.support_x))

        def mean(theta: Params) -> Tensor:
            losses: Tensor = vmap(self.loss, (None, 0, 0, 0), randomness="different")(
                theta, prepared.support_x, prepared.support_y, buffers
            )
            return losses.mean()

        return MetaGradient(None, grad(mean)(theta))
