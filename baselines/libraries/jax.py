"""Second-order MAML in JAX: the gradient of the compiled, unrolled inner loop, all tasks at once.

    L(θ) = mean over tasks of Q(φ_K),   φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ)        meta-gradient = jit(∇L)(θ)

Source: https://docs.jax.dev/en/latest/advanced-autodiff.html, "Taking gradients (part 2)", which has MAML as its
example of a gradient through gradient steps: `jax.grad` inside `jax.grad`, `jax.vmap` over tasks, `jax.jit` around it
all. The network is the model's, translated (`_jax_network.py`).
"""

from functools import partial

import jax
from jax import Array

from baselines.libraries._jax import UNROLLED, JaxBaseline, Result
from baselines.libraries._jax_layers import Weights
from baselines.libraries._jax_network import Loss, descend


class Jax(JaxBaseline):
    """Reverse mode through the inner loop, whose intermediate values XLA keeps or computes again as it sees fit."""

    def mean_over_tasks(self, loss: Loss, theta: Weights, frozen: Weights, batch: tuple[Array, ...]) -> Result:
        """∇L and the tasks' losses."""

        def mean_loss(theta: Weights) -> tuple[Array, Array]:
            losses = jax.vmap(partial(self.adapted_loss, loss), (None, None, 0, 0, 0, 0))(
                theta, frozen, *batch
            )  # (tasks,)
            return losses.mean(), losses

        return Result(*jax.grad(mean_loss, has_aux=True)(theta))

    def adapted_loss(
        self,
        loss: Loss,
        theta: Weights,
        frozen: Weights,
        support_x: Array,
        support_y: Array,
        query_x: Array,
        query_y: Array,
    ) -> Array:
        """Q(φ_K) of one task; scalar."""

        def step(phi: Weights) -> Weights:
            return descend(phi, jax.grad(loss)(phi, frozen, support_x, support_y), self.spec.inner.lr)

        phi, steps = theta, self.spec.inner.steps
        if steps <= UNROLLED:
            for _ in range(steps):
                phi = step(phi)
        else:
            phi, _ = jax.lax.scan(lambda phi, _: (step(phi), None), phi, length=steps)
        return loss(phi, frozen, query_x, query_y)
