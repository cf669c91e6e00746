"""Second-order MAML with TorchOpt 0.7.3, as its documentation does it.

    φₖ₊₁ = φₖ − α ∇S(φₖ)       `MetaSGD.step(S)` puts φₖ₊₁, a function of φₖ, into the module in φₖ's place

Source: https://torchopt.readthedocs.io/en/latest/explicit_diff/explicit_diff.html, "OOP API", and the example that it
names for MAML, `examples/few-shot/maml_omniglot.py` of its repository (https://github.com/metaopt/torchopt): for every
task `step` on the support loss, take the query loss, and `recover_state_dict` of module and optimizer. The example
collects all tasks' losses before one `backward`; here every task has its own, which adds up to the same and keeps one
task's graph at a time.
"""

from contextlib import nullcontext
from typing import ClassVar

import torch
import torchopt

from baselines._shared.with_grad import WithGrad
from baselines.contract import Computes, MetaGradient, Spec, TaskBatch, take_grads


class TorchOpt(WithGrad):
    """`torchopt.MetaSGD`, which changes the module itself from step to step."""

    computes: ClassVar[Computes] = "maml"
    library = "torchopt"

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """`MetaSGD.step` takes every place that holds a parameter for a parameter of its own, and for a trained one."""
        places = [p for module in spec.model.modules() for p in module.parameters(recurse=False)]
        if spec.inner.steps > 0 and any(not p.requires_grad for p in places):
            return "MetaSGD differentiates by every parameter of the module, and a frozen one has no gradient"
        if spec.inner.steps > 1 and len({id(p) for p in places}) < len(places):
            return "MetaSGD gives each place of a tied tensor one of its own, so that a second step trains them apart"
        return super().unavailable(spec)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """One `backward` through the adapted module of every task."""
        model, losses = self.spec.model, []
        later = self.absent if self.spec.inner.steps else nullcontext  # backward goes to all φₖ, and the module has one
        with self.call(prepared) as batch:
            optimizer = torchopt.MetaSGD(model, lr=self.spec.inner.lr)
            start = torchopt.extract_state_dict(optimizer, by="reference")
            own = torchopt.extract_state_dict(model, by="reference")
            # For a task, buffers as copies: a running statistic is overwritten in place, and there is no way back.
            meta = torchopt.extract_state_dict(model, by="reference", detach_buffers=True)
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                torchopt.recover_state_dict(model, meta)
                torchopt.recover_state_dict(optimizer, start)
                for _ in range(self.spec.inner.steps):
                    optimizer.step(self.spec.loss(model(support_x), support_y))
                loss = self.spec.loss(model(query_x), query_y)
                with later():
                    loss.backward()
                losses.append(loss.detach())
            torchopt.recover_state_dict(model, own)
            return MetaGradient(torch.stack(losses), take_grads(model, len(losses)))
