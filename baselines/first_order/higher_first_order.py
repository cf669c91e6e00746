"""First-order MAML with higher 0.2.1: the inner gradients detached in its gradient callback.

`track_higher_grads=False` is meant for evaluation: it cuts the fast weights off from the model, whose `.grad` then
stays None (its issues 63, 129). Detaching in `grad_callback`, which `DifferentiableOptimizer.step` documents, keeps
the path φ_K → θ and drops only the second derivatives: exactly FOMAML.
"""

import higher
import torch

from baselines.libraries.higher import Higher


class HigherFirstOrder(Higher):
    """`higher.innerloop_ctx` with `grad_callback` detaching."""

    computes = "fomaml"

    def inner_step(self, inner: higher.optim.DifferentiableOptimizer, loss: torch.Tensor) -> None:
        """One step whose gradient is a constant to the outer differentiation."""
        inner.step(loss, grad_callback=lambda grads: [None if g is None else g.detach() for g in grads])
