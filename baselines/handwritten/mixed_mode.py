"""Second-order MAML with no graph through the inner loop: forward over it, then a sweep back over its iterates.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

v is the meta-gradient (Finn et al. 2017, eq. 1, read from right to left). Each Hessian-vector product is the gradient
of ⟨∇S(φₖ), v⟩, reverse over reverse. What is kept between the two passes are the iterates alone, so memory grows with K
by one copy of the parameters per step, not by a graph (cf. MixFlow-MG, https://arxiv.org/abs/2505.00793).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from baselines._functional import Functional, TaskMean, differentiate, leaves
from baselines.contract import MetaGradient, Params, TaskBatch, trainable


class MixedMode(Functional):
    """Mixed mode, a task at a time: any `nn.Module`, any number of inner steps."""

    computes = "maml"
    checkpointed: ClassVar[bool] = False
    """Keep every √K-th iterate only, and run the inner loop again in between."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """The mean over tasks of v after the sweep."""
        theta = trainable(self.spec.model)
        mean = TaskMean()
        for support_x, support_y, query_x, query_y in zip(*prepared, strict=True):
            inner = _InnerLoop(self, support_x, support_y)
            phi = inner.run(leaves(theta))
            loss = self.loss(phi, query_x, query_y)
            v = differentiate(loss, phi)
            mean.add(inner.sweep(v), loss)
        return mean.result()

    def pull_back(self, phi: Params, v: Params, x: Tensor, y: Tensor) -> Params:
        """v − α ∇²S(φ) v."""
        grads = differentiate(self.loss(phi, x, y), phi, create_graph=True)
        product = torch.stack([(grads[name] * v[name]).sum() for name in phi]).sum()
        if not product.requires_grad:  # ∇S does not depend on φ
            return v
        curvature = differentiate(product, phi)
        return {name: v[name] - self.spec.inner.lr * curvature[name] for name in phi}


class _InnerLoop:
    """One task's iterates: kept, and where checkpointed run again between those that are."""

    def __init__(self, baseline: MixedMode, x: Tensor, y: Tensor) -> None:
        self.baseline, self.x, self.y = baseline, x, y
        self.steps = baseline.spec.inner.steps
        self.kept: list[tuple[int, Params]] = []
        self.random: dict[int, list[Tensor]] = {}

    def run(self, theta: Params) -> Params:
        """φ_K, from φ₀ = θ."""
        every = math.isqrt(self.steps) if self.baseline.checkpointed else 1
        phi = theta
        for k in range(self.steps):
            if k % every == 0:
                self.kept.append((k, phi))
            before = self.generators()
            phi = self.step(phi)
            if any(not torch.equal(a, b) for a, b in zip(before, self.generators(), strict=True)):
                self.random[k] = before
        return phi

    def sweep(self, v: Params) -> Params:
        """v ← (I − α∇²S(φₖ)) v for k = K−1 … 0; the kept iterates are let go on the way."""
        end = self.steps
        while self.kept:
            k, phi = self.kept.pop()
            iterates = [phi]
            for again in range(k, end - 1):
                with self.drawing_again(again):
                    iterates.append(self.step(iterates[-1]))
            for step in range(end - 1, k - 1, -1):
                with self.drawing_again(step):
                    v = self.baseline.pull_back(iterates.pop(), v, self.x, self.y)
            end = k
        return v

    def step(self, phi: Params) -> Params:
        """One inner step that leaves no graph."""
        return leaves(self.baseline.step(phi, self.x, self.y))

    def generators(self) -> list[Tensor]:
        """The state of the random numbers that a model may draw, as dropout does."""
        device = self.baseline.spec.device
        on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        return [torch.get_rng_state(), *on_device]

    @contextmanager
    def drawing_again(self, k: int) -> Iterator[None]:
        """Draw what step k drew, or the derivative would be that of another function."""
        if k not in self.random:
            yield
            return
        device = self.baseline.spec.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.set_rng_state(self.random[k][0])
            for state in self.random[k][1:]:
                torch.cuda.set_rng_state(state, device)
            yield
