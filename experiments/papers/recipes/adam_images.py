"""Adam on the meta-gradient of an implementation, for few-shot images: MAML and FOMAML as in Finn et al. 2017."""

from collections.abc import Generator

from torch import nn

from baselines.contract import InnerLoop
from experiments.harness.case import Json
from experiments.harness.measure.adaptation import Adaptation
from experiments.harness.measure.bench import Bench
from experiments.papers.recipes import adam
from experiments.papers.recipes.accuracy import LOOKS, TOLD_STEPS, Learned, LearningCurve


def train(bench: Bench, _alone: bool, before: Learned | None) -> Generator[float, None, Learned]:
    """The case's iterations, episodes and step sizes, for both ways of testing; verified before."""
    if before:
        return before
    p = bench.params
    row = bench.verify()
    model = bench.setup.spec.model
    curve = LearningCurve(bench, p["test_steps"])

    def look(iteration: int) -> None:
        curve.look(iteration, adaptation(bench, model, p["test_steps"]))

    look(0)
    yield from adam.iterate(bench, LOOKS, look)
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
