"""Second-order MAML with no graph through the inner loop: forward over it, then a sweep back over its iterates.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

v is the meta-gradient (Finn et al. 2017, eq. 1, read from right to left). Each Hessian-vector product is reverse over
reverse: −α v goes back through the graph of ∇S(φₖ), as it does in `unrolled`. What is kept between the two passes are
the iterates alone, so memory grows with K by one copy of the parameters per step, not by a graph (cf. MixFlow-MG,
https://arxiv.org/abs/2505.00793). All that is asked of one φₖ is asked while it is in place, so a forward may be run
again for its derivatives (`torch.utils.checkpoint`).
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from baselines._shared.functional import Functional, TaskMean, differentiate, leaves
from baselines._shared.random_state import RandomState
from baselines.contract import MetaGradient, Params, TaskBatch


class Adjoint(Functional):
    """The adjoint sweep, a task at a time: any number of inner steps, any `nn.Module`.

    Its forward has to be a function of its tensors, x and random numbers from the default generators (torch's, NumPy's
    and Python's), which are drawn again; with what else it remembers from call to call a step's derivative would be
    that of another function, and is refused.
    """

    computes = "maml"
    checkpointed: ClassVar[bool] = False
    """Keep every √K-th iterate only, and run the inner loop again in between."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of v after the sweep."""
        mean = TaskMean()
        with self.call(prepared) as batch:
            for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
                inner = _Iterates(self, support_x, support_y)
                v, loss = self.gradient(inner.run(leaves(self.theta)), query_x, query_y)
                mean.add(inner.sweep(v), loss)
            return mean.result()

    def pull_back(self, phi: Params, v: Params, x: Tensor, y: Tensor) -> tuple[Params, Tensor]:
        """v − α ∇²S(φ) v, and S(φ)."""
        with self.lending(phi):
            loss = self.spec.loss(self.spec.model(x), y)
            grads = differentiate(loss, phi, create_graph=True)
            graphs = {name: g for name, g in grads.items() if g.requires_grad}
            if not graphs:  # ∇S does not depend on φ
                return v, loss.detach()
            # Hooks on tensors get what they get in `unrolled`, to which those that are not linear can tell α v from v.
            cotangents = [-self.spec.inner.lr * v[name] for name in graphs]
            products = torch.autograd.grad([*graphs.values()], [*phi.values()], cotangents, allow_unused=True)
        swept = {name: v[name] if p is None else v[name] + p for name, p in zip(phi, products, strict=True)}
        return swept, loss.detach()


class _Iterates:
    """One task's iterates: kept, and where checkpointed run again between those that are."""

    def __init__(self, baseline: Adjoint, x: Tensor, y: Tensor) -> None:
        self.baseline, self.x, self.y = baseline, x, y
        self.steps = baseline.spec.inner.steps
        self.kept: list[tuple[int, Params]] = []
        self.random: dict[int, RandomState] = {}
        self.losses: list[Tensor] = []
        self.losses_again: list[Tensor] = []

    def run(self, theta: Params) -> Params:
        """φ_K, from φ₀ = θ."""
        every = math.isqrt(self.steps) if self.baseline.checkpointed else 1
        phi = theta
        for k in range(self.steps):
            if k % every == 0:
                self.kept.append((k, phi))
            before = RandomState(self.baseline.spec.device)
            phi, loss = self.step(phi)
            self.losses.append(loss)
            if not before.same(RandomState(self.baseline.spec.device)):
                self.random[k] = before
        return phi

    def sweep(self, v: Params) -> Params:
        """v ← (I − α∇²S(φₖ)) v for k = K−1 … 0; the kept iterates are let go on the way.

        Raises RuntimeError where a step that is computed again has another loss.
        """
        end = self.steps
        while self.kept:
            k, phi = self.kept.pop()
            iterates = [phi]
            for again in range(k, end - 1):
                with self.drawing_again(again):
                    iterates.append(self.step(iterates[-1])[0])
            for step in range(end - 1, k - 1, -1):
                with self.drawing_again(step):
                    v, loss = self.baseline.pull_back(iterates.pop(), v, self.x, self.y)
                    self.losses_again.append(loss)
            end = k
        self.compare()
        return v

    def compare(self) -> None:
        """Raise RuntimeError unless the steps had the losses that they have now, but for an order of sums."""
        if self.losses:
            before, now = torch.stack(self.losses), torch.stack(self.losses_again[::-1])
            if not torch.allclose(now, before, rtol=torch.finfo(now.dtype).eps ** 0.5, equal_nan=True):
                raise RuntimeError(
                    "an inner step has another loss when it is computed again: the model or the loss "
                    "remembers or draws something else than random numbers of the default generators"
                )

    def step(self, phi: Params) -> tuple[Params, Tensor]:
        """One inner step that leaves no graph, and S(φ)."""
        grads, loss = self.baseline.gradient(phi, self.x, self.y)
        return leaves({name: p - self.baseline.spec.inner.lr * grads[name] for name, p in phi.items()}), loss.detach()

    def drawing_again(self, k: int) -> AbstractContextManager[None]:
        """Draw what step k drew, or the derivative would be that of another function."""
        return self.random[k].again() if k in self.random else nullcontext()
