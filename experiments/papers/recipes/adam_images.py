"""Train by Adam on an implementation's meta-gradient, for few-shot images: MAML and FOMAML as in Finn et al. 2017."""

from collections.abc import Generator

from torch import nn

from baselines.contract import InnerLoop
from experiments.harness.measure.adaptation import Adaptation
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Row
from experiments.papers.recipes import adam
from experiments.papers.recipes.accuracy import LOOKS, REPORTED_STEPS, Learned, LearningCurve


def train(bench: Bench, _alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """Verify the implementation, then train with the case's iterations, episodes and step sizes, for both modes."""
    if before:
        return before
    p = bench.params
    row = bench.verify()
    model = bench.setup.spec.model
    curve = LearningCurve(bench, p.integer("test_steps"))

    def look(iteration: int) -> None:
        curve.look(iteration, adaptation(bench, model, p.integer("test_steps")))

    look(0)
    yield from adam.iterate(bench, LOOKS, look)
    return learned(bench, model, {"iterations": p.integer("iterations")} | row, curve.series)


def untrained(bench: Bench, _alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """Return the initial weights without training."""
    yield from ()
    return before or learned(bench, bench.model(bench.dtype), {"iterations": 0}, {})


def learned(bench: Bench, model: nn.Module, row: Row, curve: dict[str, list[float]]) -> Learned:
    """Return a training's result, with the step size as the released code states it and as it acts on a mean loss."""
    p = bench.params
    row = row | {"alpha": p.number("inner_lr") / p.integer("ways"), "inner_reduction": "sum over ways, mean over shots"}
    row["alpha_effective"] = p.number("inner_lr")
    return Learned(adaptation(bench, model, REPORTED_STEPS), p.integer("test_steps"), row, curve)


def adaptation(bench: Bench, model: nn.Module, steps: int) -> Adaptation:
    """Return an adaptation by plain gradient descent from the model's present weights."""
    return Adaptation(model, bench.loss, InnerLoop(bench.params.number("inner_lr"), steps))
