"""Reptile (Nichol et al. 2018, https://arxiv.org/abs/1803.02999, algorithm 2): the way the inner loop went.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of θ − φ_K

It never looks at the query points. With K = 1 it is α ∇S(θ), that is, joint training on all tasks; the paper trains
by a recipe of its own, with K ≥ 5.
"""

from baselines._shared.functional import Functional, TaskMean, leaves
from baselines.contract import MetaGradient, TaskBatch


class Reptile(Functional):
    """Reptile's batched update direction: any `nn.Module`, any number of inner steps."""

    computes = "reptile"

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of θ − φ_K; no query losses, since it computes none."""
        mean = TaskMean()
        with self.call(prepared) as batch:
            theta = leaves(self.theta)
            for support_x, support_y, *_ in zip(*batch, strict=True):
                phi = theta
                for _ in range(self.spec.inner.steps):
                    phi = leaves(self.step(phi, support_x, support_y))
                mean.add({name: (theta[name] - p).detach() for name, p in phi.items()})
            return mean.result()
