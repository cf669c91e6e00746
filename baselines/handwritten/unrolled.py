"""Second-order MAML by differentiating through the unrolled inner loop (Finn et al. 2017, eq. 1).

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   meta-gradient = mean over tasks of ∇_θ Q(φ_K)

`create_graph=True` keeps the graph of ∇S, so the outer gradient reaches θ through every factor
(I − α ∇²S(φₖ)). Time and memory grow linearly with K: the whole inner loop of one task stays alive.
"""

from baselines._shared.functional import Functional, TaskMean, differentiate, leaves
from baselines.contract import MetaGradient, TaskBatch


class Unrolled(Functional):
    """Clean functional second-order MAML: any `nn.Module`, any number of inner steps."""

    computes = "maml"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of the derivative of the adapted query loss with respect to θ."""
        mean = TaskMean()
        with self.call(prepared) as batch:
            theta = leaves(self.theta)
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                phi = theta
                for _ in range(self.spec.inner.steps):
                    phi = self.step(phi, support_x, support_y, create_graph=True)
                loss = self.loss(phi, query_x, query_y)
                mean.add(differentiate(loss, theta, strangers=self.theta.values()), loss)
            return mean.result()
