"""First-order MAML (Finn et al. 2017, section 5.2): the query gradient where the inner loop ended.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of ∇Q(φ_K)

The factors (I − α ∇²S(φₖ)) of the meta-gradient are taken to be the identity, so no inner step keeps a graph.
"""

from baselines._shared.functional import Functional, TaskMean, leaves
from baselines.contract import MetaGradient, TaskBatch


class Fomaml(Functional):
    """FOMAML: any `nn.Module`, any number of inner steps."""

    computes = "fomaml"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the query gradient at the adapted parameters."""
        mean = TaskMean()
        with self.call(prepared) as batch:
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                phi = leaves(self.theta)
                for _ in range(self.spec.inner.steps):
                    phi = leaves(self.step(phi, support_x, support_y))
                mean.add(*self.gradient(phi, query_x, query_y))
            return mean.result()
