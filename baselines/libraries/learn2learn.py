"""Second-order MAML with learn2learn 0.2.0, as its documentation does it.

Source: https://learn2learn.net/docs/learn2learn.algorithms, `MAML`, and `examples/vision/maml_omniglot.py` of its
repository: clone the wrapped model for every task, `adapt` the clone on the support loss, let the query loss'
`backward` add to the model's `.grad`, and divide by the number of tasks at the end.
"""

from typing import ClassVar

import torch

from baselines.contract import Baseline, Computes, MetaGradient, Spec, TaskBatch, take_grads
from baselines.libraries import _learn2learn

MAML = _learn2learn.algorithms().MAML


class Learn2Learn(Baseline):
    """`learn2learn.algorithms.MAML`."""

    computes: ClassVar[Computes] = "maml"
    library = "learn2learn"
    first_order: ClassVar[bool] = False

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        frozen = any(not p.requires_grad for p in spec.model.parameters())
        self.maml = MAML(spec.model, lr=spec.inner.lr, first_order=self.first_order, allow_nograd=frozen)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the adapted clone of every task."""
        losses = []
        for support_x, support_y, query_x, query_y in zip(*prepared, strict=True):
            learner = self.maml.clone()
            for _ in range(self.spec.inner.steps):
                learner.adapt(self.spec.loss(learner(support_x), support_y))
            loss = self.spec.loss(learner(query_x), query_y)
            loss.backward()
            losses.append(loss.detach())
        return MetaGradient(torch.stack(losses), take_grads(self.spec.model, len(losses)))
