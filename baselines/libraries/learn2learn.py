"""Second-order MAML with learn2learn 0.2.0, as its documentation does it.

Source: https://learn2learn.net/docs/learn2learn.algorithms, `MAML`, and `examples/vision/maml_omniglot.py` of its
repository: clone the wrapped model for every task, `adapt` the clone on the support loss, let the query loss'
`backward` add to the model's `.grad`, and divide by the number of tasks at the end.
"""

from contextlib import nullcontext
from typing import ClassVar

import torch

from baselines._eager import WithGrad, absent, refusal
from baselines._modules import hooked_everywhere
from baselines.contract import Computes, MetaGradient, Spec, TaskBatch, take_grads
from baselines.libraries import _learn2learn

MAML = _learn2learn.algorithms().MAML


class Learn2Learn(WithGrad):
    """`learn2learn.algorithms.MAML`."""

    computes: ClassVar[Computes] = "maml"
    library = "learn2learn"
    first_order: ClassVar[bool] = False

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """`MAML` is a module itself, which hooks on all modules would meet, too."""
        return (
            "hooks on all modules meet the MAML around the model, too" if hooked_everywhere() else refusal(spec.model)
        )

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the adapted clone of every task."""
        model, losses = self.spec.model, []
        later = (
            self.spec.inner.steps > 0 and not self.first_order
        )  # one clone holds all φₖ in turn; backward goes to all
        with self.call(prepared) as batch:
            frozen = any(not p.requires_grad for p in model.parameters())
            maml = MAML(model, lr=self.spec.inner.lr, first_order=self.first_order, allow_nograd=frozen)
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                learner = maml.clone()
                with self.absent():  # a clone keeps bound methods and lists of the model, which would read θ
                    for _ in range(self.spec.inner.steps):
                        learner.adapt(self.spec.loss(learner(support_x), support_y))
                    loss = self.spec.loss(learner(query_x), query_y)
                    with absent(learner) if later else nullcontext():
                        loss.backward()
                losses.append(loss.detach())
            return MetaGradient(torch.stack(losses), take_grads(model, len(losses)))
