"""Second-order MAML in JAX by a reverse sweep over the iterates, Hessian-vector products forward over reverse.

    φₖ₊₁ = φₖ − α ∇S(φₖ)                        the inner loop, of which only φ₀ … φ_K are kept
    v ← ∇Q(φ_K),   v ← v − α ∇²S(φₖ) v          for k = K−1, …, 0
    ∇²S(φ) v = jvp(∇S)(φ; v)                    meta-gradient = mean over tasks of v

The sweep multiplies the factors (I − α ∇²S(φₖ)) from the right, which is what reverse mode does as well; but reverse
mode gets ∇²S·v by going backwards through ∇S, and keeps what that needs of every inner step. Here ∇²S·v is a
directional derivative of ∇S, which keeps nothing: memory grows with K by the parameters alone. MixFlow-MG (Kemaev et
al. 2025, https://arxiv.org/abs/2505.00793) brings this to meta-gradients.

Source: https://docs.jax.dev/en/latest/notebooks/autodiff_cookbook.html, "Hessian-vector products using both forward-
and reverse-mode": `jvp(grad(f), primals, tangents)[1]`.
"""

from functools import partial

import jax
from jax import Array

from baselines.libraries._jax import UNROLLED, JaxBaseline, Result
from baselines.libraries._jax_layers import Weights
from baselines.libraries._jax_network import Loss, descend


class JaxMixedMode(JaxBaseline):
    """The sweep of every task, with `jax.vmap` over tasks."""

    def mean_over_tasks(self, loss: Loss, theta: Weights, frozen: Weights, batch: tuple[Array, ...]) -> Result:
        """The mean of v over tasks, and the tasks' losses."""
        v, losses = jax.vmap(partial(self.sweep, loss), (None, None, 0, 0, 0, 0))(
            theta, frozen, *batch
        )  # (tasks, …), (tasks,)
        return Result({name: part.mean(0) for name, part in v.items()}, losses)

    def sweep(
        self,
        loss: Loss,
        theta: Weights,
        frozen: Weights,
        support_x: Array,
        support_y: Array,
        query_x: Array,
        query_y: Array,
    ) -> tuple[Weights, Array]:
        """v of one task, and Q(φ_K)."""
        lr, steps = self.spec.inner.lr, self.spec.inner.steps

        def gradient(phi: Weights) -> Weights:
            grads: Weights = jax.grad(loss)(phi, frozen, support_x, support_y)
            return grads

        def forwards(phi: Weights, _: None = None) -> tuple[Weights, Weights]:
            return descend(phi, gradient(phi), lr), phi

        def backwards(v: Weights, phi: Weights) -> tuple[Weights, None]:
            return descend(v, jax.jvp(gradient, (phi,), (v,))[1], lr), None

        phi, iterates = theta, []
        if steps <= UNROLLED:
            for _ in range(steps):
                phi, before = forwards(phi)
                iterates.append(before)
            value, v = jax.value_and_grad(loss)(phi, frozen, query_x, query_y)
            for before in reversed(iterates):
                v, _ = backwards(v, before)
        else:
            phi, stacked = jax.lax.scan(forwards, phi, length=steps)  # (steps, …) each
            value, v = jax.value_and_grad(loss)(phi, frozen, query_x, query_y)
            v, _ = jax.lax.scan(backwards, v, stacked, reverse=True)
        return v, value
