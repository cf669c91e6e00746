"""Second-order MAML with higher 0.2.1, as its documentation does it.

Source: `examples/maml-omniglot.py` of its repository (https://github.com/facebookresearch/higher): an inner loop
context per task, `diffopt.step` on the support loss, and the query loss' `backward` adds to the model's `.grad`.
`copy_initial_weights=False` is essential: by default the inner loop starts from copies that are not part of the
graph, and the model gets no gradient at all (its issues 30, 54, 69).
"""

from typing import ClassVar

import higher
import torch
from torch import nn

from baselines._shared.module_state import replaced
from baselines._shared.with_grad import WithGrad
from baselines.contract import Computes, MetaGradient, Spec, TaskBatch, take_grads


class Higher(WithGrad):
    """`higher.innerloop_ctx` around plain SGD."""

    computes: ClassVar[Computes] = "maml"
    library = "higher"
    options: ClassVar[dict[str, bool]] = {"copy_initial_weights": False}

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """Its functional module copies a module's attributes and the forward of its class, and leaves out its hooks."""
        if reason := replaced(spec.model):
            return f"higher leaves out {reason}"
        if any(type(type(module)) is not type for module in spec.model.modules()):
            return "higher derives a class from each module's, which a metaclass of its own does not allow"
        if any(isinstance(value, nn.Module) for module in spec.model.modules() for value in vars(module).values()):
            return "higher copies the attributes of a module, and a module among them is none of its own kind"
        return super().unavailable(spec)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the unrolled inner loop of every task."""
        model, losses = self.spec.model, []
        later = self.spec.inner.steps > 0 and self.computes == "maml"  # backward goes to all φₖ, and `learner` has one
        with self.call(prepared) as batch:
            optimizer = torch.optim.SGD(model.parameters(), lr=self.spec.inner.lr)
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                with higher.innerloop_ctx(model, optimizer, **self.options) as (learner, inner), self.absent():
                    for _ in range(self.spec.inner.steps):
                        self.inner_step(inner, self.spec.loss(learner(support_x), support_y))
                    loss = self.spec.loss(learner(query_x), query_y)
                    if later and not self.stock:
                        learner.update_params(
                            [self.absence.get(name, p) for name, p in self.network.parameters.items()]
                        )
                    loss.backward()
                losses.append(loss.detach())
            result = MetaGradient(torch.stack(losses), take_grads(model, len(losses)))
            self.refuse_growth(learner)
            return result

    def inner_step(self, inner: higher.optim.DifferentiableOptimizer, loss: torch.Tensor) -> None:
        """One differentiable step of the inner optimizer."""
        inner.step(loss)
