"""Train Reptile on sinusoids as the code does that OpenAI published with Nichol et al. 2018.

30,000 iterations of one task each: 50 points, one epoch of plain gradient descent on minibatches of 10, that is, 5
inner steps of 0.02; then θ ← θ + ε (φ − θ), with ε falling linearly from 0.1 to 0. Tasks, network and initial weights
are those of the case. (In that code x are 50 points on a grid, here they are drawn; its network has 64 tanh units per
layer.)
"""

from collections.abc import Generator

import torch
from torch import Tensor, nn

from experiments.harness.measure.bench import Bench
from experiments.papers.recipes import LOOKS, Trained
from experiments.problems.tasks import family
from experiments.problems.tasks.stream import Stream

ITERATIONS = 30_000
POINTS, MINIBATCH = 50, 10
INNER_LR, OUTER_LR = 0.02, 0.1


def train(bench: Bench) -> Generator[float, None, Trained]:
    """Train for the case's share of the published 30,000 iterations."""
    p = bench.params
    iterations = max(1, round(ITERATIONS * p.number("share")))
    model = bench.model(bench.dtype)
    stream = Stream(family(p.text("family")), bench.case.seed, 1, POINTS, 0)
    every = max(1, iterations // LOOKS)
    for iteration in range(iterations):
        batch = bench.tensors(stream.batch(iteration))
        before = [q.detach().clone() for q in model.parameters()]
        for x, y in zip(batch.support_x[0].split(MINIBATCH), batch.support_y[0].split(MINIBATCH), strict=True):
            step(model, bench.loss(model(x), y))
        outer = OUTER_LR * (1 - iteration / iterations)
        with torch.no_grad():
            for q, old in zip(model.parameters(), before, strict=True):
                q.copy_(old + outer * (q - old))
        if (iteration + 1) % every == 0:
            yield (iteration + 1) / iterations
    return Trained(model, INNER_LR, p.text("family"))


def step(model: nn.Module, loss: Tensor) -> None:
    """Take one step of plain gradient descent, in place."""
    parameters = list(model.parameters())
    for q, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        q.data.sub_(INNER_LR * g)
