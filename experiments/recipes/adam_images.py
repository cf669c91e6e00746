"""Adam on the meta-gradient of an implementation, for few-shot images: MAML and FOMAML as in Finn et al. 2017."""

from collections.abc import Generator

import torch
from torch import nn

from baselines.contract import InnerLoop
from experiments.harness.bench import Bench
from experiments.harness.case import Json
from experiments.harness.evaluate import Adaptation
from experiments.harness.outer_loop import outer_loop
from experiments.harness.status import Diverged
from experiments.recipes.accuracy import TOLD_STEPS, Learned, LearningCurve


def train(bench: Bench, _alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """The case's iterations, episodes and step sizes, for both ways of testing; verified before."""
    if before:
        return before
    p = bench.params
    row = bench.verify()
    model = bench.setup.spec.model
    curve = LearningCurve(bench, p["iterations"], p["test_steps"])
    curve.look(0, adaptation(bench, model, p["test_steps"]))
    training = outer_loop(bench.setup, p["outer_lr"], bench.batches(p["iterations"]))
    for iteration, loss in enumerate(training, start=1):
        if curve.due(iteration):
            if loss is not None and not torch.isfinite(loss):
                raise Diverged(f"the query loss is not finite at iteration {iteration}")
            curve.look(iteration, adaptation(bench, model, p["test_steps"]))
            yield iteration / p["iterations"]
    return learned(bench, model, {"iterations": p["iterations"]} | row, curve.series)


def untrained(bench: Bench, _alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """The initial weights as they are."""
    yield from ()
    return before or learned(bench, bench.model(bench.dtype), {"iterations": 0}, {})


def learned(bench: Bench, model: nn.Module, row: dict[str, Json], curve: dict[str, list[float]]) -> Learned:
    """With the columns that tell the step size as the released code has it, and as a mean has."""
    p = bench.params
    row = row | {"alpha": p["inner_lr"] / p["ways"], "inner_reduction": "sum over ways, mean over shots"}
    row["alpha_effective"] = p["inner_lr"]
    return Learned(adaptation(bench, model, TOLD_STEPS), p["test_steps"], row, curve)


def adaptation(bench: Bench, model: nn.Module, steps: int) -> Adaptation:
    """Plain gradient descent from the model's weights as they are now."""
    return Adaptation(model, bench.loss, InnerLoop(bench.params["inner_lr"], steps))
