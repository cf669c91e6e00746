"""First-order MAML (Finn et al. 2017, section 5.2): the query gradient where the inner loop ended.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of ∇Q(φ_K)

The factors (I − α ∇²S(φₖ)) of the meta-gradient are taken to be the identity, so no inner step keeps a graph.
"""

from baselines._functional import Functional, TaskMean, differentiate, leaves
from baselines.contract import MetaGradient, TaskBatch, trainable


class Fomaml(Functional):
    """FOMAML: any `nn.Module`, any number of inner steps."""

    computes = "fomaml"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the query gradient at the adapted parameters."""
        theta = trainable(self.spec.model)
        mean = TaskMean()
        for support_x, support_y, query_x, query_y in zip(*prepared, strict=True):
            phi = leaves(theta)
            for _ in range(self.spec.inner.steps):
                phi = leaves(self.step(phi, support_x, support_y))
            loss = self.loss(phi, query_x, query_y)
            mean.add(differentiate(loss, phi), loss)
        return mean.result()
