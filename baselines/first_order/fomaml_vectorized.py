"""First-order MAML in plain torch.func: `fomaml` for all tasks at once.

φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of ∇Q(φ_K)
"""

from torch import Tensor
from torch.func import grad_and_value, vmap

from baselines.contract import MetaGradient, Params, TaskBatch
from baselines.handwritten.vectorized import Vectorized


class FomamlVectorized(Vectorized):
    """FOMAML: any `nn.Module` that `vmap` takes, any number of inner steps."""

    computes = "fomaml"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the query gradient at the adapted parameters."""

        def one(
            support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor, buffers: Params
        ) -> tuple[Params, Tensor]:
            phi = self.adapted(self.start(), support_x, support_y, buffers)
            both: tuple[Params, Tensor] = grad_and_value(self.loss)(phi, query_x, query_y, buffers)
            return both

        with self.call(prepared) as batch:
            return self.result(*vmap(one, randomness="different")(*batch, self.buffers(len(batch.support_x))))
