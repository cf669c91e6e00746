"""First-order MAML in plain torch.func: `fomaml` for all tasks at once.

φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of ∇Q(φ_K)
"""

from torch import Tensor
from torch.func import grad_and_value, vmap

from baselines.contract import MetaGradient, Params, TaskBatch, trainable
from baselines.handwritten.vectorized import Vectorized


class FomamlVectorized(Vectorized):
    """FOMAML: any `nn.Module` that `vmap` takes, any number of inner steps."""

    computes = "fomaml"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the query gradient at the adapted parameters."""
        theta = {name: p.detach() for name, p in trainable(self.spec.model).items()}

        def one(
            support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor, buffers: Params
        ) -> tuple[Params, Tensor]:
            phi = self.adapted(theta, support_x, support_y, buffers)
            found: tuple[Params, Tensor] = grad_and_value(self.loss)(phi, query_x, query_y, buffers)
            return found

        with self.transformed():
            grads, losses = vmap(one, randomness="different")(*prepared, self.buffers(len(prepared.support_x)))
        return MetaGradient(losses, {name: g.mean(0) for name, g in grads.items()})
