"""Train Reptile on few-shot images as the code does that OpenAI published with Nichol et al. 2018.

The inner loop is Adam with β₁ = 0 on minibatches of an episode that has more images per class than support images in
testing; then θ ← θ + ε (mean over episodes of φ − θ), with ε falling linearly to 0. Adam's second moments are kept from
one episode to the next, and into testing.
"""

import copy
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from baselines.contract import Loss, Stateless, trainable
from experiments.harness.measure.adaptation import predictions
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Parameters, Row
from experiments.papers.recipes.accuracy import LOOKS, REPORTED_STEPS, Learned, LearningCurve
from experiments.problems.tasks import stream
from experiments.problems.tasks.draws import Source


@dataclass(frozen=True)
class Settings:
    """The settings of a training that differ between the commands of the released code.

    shots, minibatch, steps: of an episode in training; test_minibatch, test_steps: of one in testing; lr: Adam's;
    outer_lr: ε of the first iteration; tasks: episodes an iteration.
    """

    shots: int
    minibatch: int
    steps: int
    lr: float
    outer_lr: float
    tasks: int
    iterations: int
    test_minibatch: int
    test_steps: int


TRANSDUCTIVE = Settings(15, 25, 3, 1e-3, 1.0, 10, 100_000, 25, 5)
RELEASED = {  # by ways and shots; only 5-way 1-shot has a separate command for transduction
    (5, 1): Settings(12, 5, 12, 4.4e-4, 1.0, 3, 200_000, 5, 86),
    (5, 5): Settings(10, 10, 5, 1.5e-3, 0.7, 5, 100_000, 6, 100),
    (20, 1): Settings(9, 15, 12, 4.6e-4, 1.0, 3, 200_000, 10, 97),
    (20, 5): Settings(12, 20, 12, 4.6e-4, 1.0, 3, 200_000, 10, 97),
}


def settings_for(params: Parameters, alone: bool) -> Settings:
    """Return the released settings for Omniglot; else TRANSDUCTIVE with the case's iterations and episodes.

    As in TRANSDUCTIVE, a minibatch then has 5 images for each way. alone: testing is with each query alone.
    """
    ways, t = params.integer("ways"), TRANSDUCTIVE
    if params.text("family") == "omniglot":
        chosen = ways, params.integer("shots")
        return t if chosen == (5, 1) and not alone else RELEASED[chosen]
    tasks, iterations = params.integer("tasks"), params.integer("iterations")
    return replace(t, minibatch=5 * ways, test_minibatch=5 * ways, tasks=tasks, iterations=iterations)


class Reptile:
    """A learner with weights θ and Adam's moments, which it sets back after adapting to a task.

    reported: the numbers of steps after which it predicts.
    """

    def __init__(self, model: nn.Module, loss: Loss, settings: Settings, reported: Sequence[int]) -> None:
        self.model, self.loss, self.settings, self.told = model, loss, settings, reported
        self.theta = list(trainable(model).values())
        self.adam = torch.optim.Adam(self.theta, lr=settings.lr, betas=(0.0, 0.999))

    def predictions(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, alone: bool = False) -> Tensor:
        """Adapt to one task; return predictions for its query points, (numbers of steps, points, outputs)."""
        before, moments = self.weights(), copy.deepcopy(self.adam.state_dict())
        network, results = Stateless(self.model), []
        order = minibatches(len(support_x), self.settings.test_minibatch, self.told[-1], 0, 0)
        for step in self.descend(support_x, support_y, order):
            if step in self.told:
                phi = {name: p.detach() for name, p in trainable(self.model).items()}
                with torch.no_grad():
                    results.append(predictions(network, phi, support_x, query_x, alone))
        self.put(before)
        self.adam.load_state_dict(moments)
        return torch.stack(results)

    def descend(self, x: Tensor, y: Tensor, order: Tensor) -> Iterator[int]:
        """Run Adam on minibatches with the indices `order`, (steps, points); yield each step's number, 0 first."""
        yield 0
        for step, chosen in enumerate(order.to(x.device), start=1):
            loss = self.loss(self.model(x[chosen]), y[chosen])
            for p, g in zip(self.theta, torch.autograd.grad(loss, self.theta), strict=True):
                p.grad = g
            self.adam.step()
            self.adam.zero_grad()
            yield step

    def weights(self) -> list[Tensor]:
        """Return a copy of the present weights."""
        return [p.detach().clone() for p in self.theta]

    def put(self, weights: list[Tensor]) -> None:
        """Set the weights in place."""
        with torch.no_grad():
            for p, w in zip(self.theta, weights, strict=True):
                p.copy_(w)


def train(bench: Bench, alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """Train from the case's initial weights, on its classes.

    before: the result for the other mode of testing; it is returned as it is where this mode has the same settings.
    """
    p = bench.params
    settings = settings_for(p, alone)
    if before and before.recipe == settings:
        return before
    reported = sorted({*range(REPORTED_STEPS + 1), settings.test_steps})
    learner = Reptile(bench.model(bench.dtype), bench.loss, settings, reported)
    curve = LearningCurve(bench, settings.test_steps)
    yield from iterate(bench, learner, curve)
    row: Row = {"iterations": settings.iterations, "alpha": settings.lr, "alpha_effective": settings.lr}
    row["inner_reduction"] = f"mean over minibatches of {settings.minibatch}, by Adam"
    return Learned(learner, settings.test_steps, row, curve.series, settings)


def iterate(bench: Bench, learner: Reptile, curve: LearningCurve) -> Generator[float, None, None]:
    """Run the outer loop; yield the fraction that is done at each look."""
    p, settings = bench.params, learner.settings
    tasks = stream(p | {"shots": settings.shots, "queries": 0}, bench.case.seed, settings.tasks, "train")
    every = max(1, settings.iterations // LOOKS)
    curve.look(0, learner)
    for iteration in range(settings.iterations):
        batch = bench.tensors(tasks.batch(iteration))
        before, after = learner.weights(), []
        for task, (x, y) in enumerate(zip(batch.support_x, batch.support_y, strict=True)):
            draw = iteration * settings.tasks + task
            order = minibatches(len(x), settings.minibatch, settings.steps, bench.case.seed, draw)
            for _ in learner.descend(x, y, order):
                pass
            after.append(learner.weights())
            learner.put(before)
        outer = settings.outer_lr * (1 - iteration / settings.iterations)
        means = [torch.stack(each).mean(0) for each in zip(*after, strict=True)]
        learner.put([old + outer * (new - old) for old, new in zip(before, means, strict=True)])
        if (iteration + 1) % every == 0:
            curve.look(iteration + 1, learner)
            yield (iteration + 1) / settings.iterations


def minibatches(points: int, size: int, steps: int, seed: int, draw: int) -> Tensor:
    """Draw the indices of `steps` minibatches, (steps, size), cut from random orders of all points."""
    rounds = -(-steps * size // points)
    uniforms = Source("reptile minibatches", seed, rounds, str(points)).uniforms(draw, points)
    return torch.from_numpy(np.argsort(uniforms, axis=1).reshape(-1)[: steps * size].reshape(steps, size))
