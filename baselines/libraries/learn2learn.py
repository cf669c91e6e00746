"""Second-order MAML with learn2learn 0.2.0, as its documentation does it.

Source: https://learn2learn.net/docs/learn2learn.algorithms, `MAML`, and `examples/vision/maml_omniglot.py` of its
repository: clone the wrapped model for every task, `adapt` the clone on the support loss, let the query loss'
`backward` add to the model's `.grad`, and divide by the number of tasks at the end.
"""

from typing import ClassVar

import torch

from baselines._shared.module_state import compiled_by_torch, hooked_everywhere
from baselines._shared.with_grad import WithGrad
from baselines.contract import Computes, MetaGradient, Spec, TaskBatch, take_grads
from baselines.libraries import _learn2learn

MAML = _learn2learn.algorithms().MAML


class Learn2Learn(WithGrad):
    """`learn2learn.algorithms.MAML`."""

    computes: ClassVar[Computes] = "maml"
    library = "learn2learn"
    first_order: ClassVar[bool] = False

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.maml = MAML(spec.model, lr=spec.inner.lr, first_order=self.first_order)

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """`MAML` is a module itself, which hooks on all modules would meet, too."""
        if hooked_everywhere():
            return "hooks on all modules meet the MAML around the model, too"
        if compiled_by_torch(spec.model):
            return "learn2learn cannot clone what torch.compile made"
        return super().unavailable(spec)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the adapted clone of every task."""
        model, losses = self.spec.model, []
        later = (
            self.spec.inner.steps > 0 and not self.first_order
        )  # one clone holds all φₖ in turn; backward goes to all
        with self.call(prepared) as batch:
            frozen = len(self.theta) < len(self.network.parameters)
            self.maml.allow_nograd = self.maml.allow_unused = frozen  # as MAML(…, allow_nograd=frozen) has them
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                learner = self.maml.clone()
                with self.absent():  # a clone keeps bound methods and lists of the model, which would read θ
                    for _ in range(self.spec.inner.steps):
                        learner.adapt(self.spec.loss(learner(support_x), support_y))
                    loss = self.spec.loss(learner(query_x), query_y)
                    if later:
                        self.forget(learner.module)
                    loss.backward()
                losses.append(loss.detach())
            result = MetaGradient(torch.stack(losses), take_grads(model, len(losses)))
            self.refuse_growth(learner.module)
            return result
