"""Second-order MAML with higher 0.2.1, as its documentation does it.

Source: `examples/maml-omniglot.py` of its repository (https://github.com/facebookresearch/higher): an inner loop
context per task, `diffopt.step` on the support loss, and the query loss' `backward` adds to the model's `.grad`.
`copy_initial_weights=False` is essential: by default the inner loop starts from copies that are not part of the
graph, and the model gets no gradient at all (its issues 30, 54, 69).
"""

from typing import ClassVar

import higher
import torch

from baselines.contract import Baseline, Computes, MetaGradient, Spec, TaskBatch, take_grads


class Higher(Baseline):
    """`higher.innerloop_ctx` around plain SGD."""

    computes: ClassVar[Computes] = "maml"
    library = "higher"
    options: ClassVar[dict[str, bool]] = {"copy_initial_weights": False}

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.inner_optimizer = torch.optim.SGD(spec.model.parameters(), lr=spec.inner.lr)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the unrolled inner loop of every task."""
        losses = []
        for support_x, support_y, query_x, query_y in zip(*prepared, strict=True):
            with higher.innerloop_ctx(self.spec.model, self.inner_optimizer, **self.options) as (learner, inner):
                for _ in range(self.spec.inner.steps):
                    self.inner_step(inner, self.spec.loss(learner(support_x), support_y))
                loss = self.spec.loss(learner(query_x), query_y)
                loss.backward()
                losses.append(loss.detach())
        return MetaGradient(torch.stack(losses), take_grads(self.spec.model, len(losses)))

    def inner_step(self, inner: higher.optim.DifferentiableOptimizer, loss: torch.Tensor) -> None:
        """One differentiable step of the inner optimizer."""
        inner.step(loss)
