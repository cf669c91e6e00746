"""Train by Adam on an implementation's meta-gradient: MAML and FOMAML as in Finn et al. 2017, and pre-training."""

from collections.abc import Callable, Generator

import torch

from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.status import Diverged
from experiments.papers.recipes import LOOKS, Trained


def train(bench: Bench) -> Generator[float, None, Trained]:
    """Verify the implementation, then train with the case's iterations, tasks and step sizes."""
    bench.verify()
    yield from iterate(bench, LOOKS, lambda iteration: None)
    return Trained(bench.setup.spec.model, bench.params.number("inner_lr"), bench.params.text("family"))


def iterate(bench: Bench, looks: int, look: Callable[[int], None]) -> Generator[float, None, None]:
    """Run the outer loop, call `look` about `looks` times at equal distances, and yield the fraction done each time.

    Raises Diverged where the query loss is not finite.
    """
    iterations = bench.params.integer("iterations")
    every = max(1, iterations // looks)
    training = outer_loop(bench.setup, bench.params.number("outer_lr"), bench.batches(iterations))
    for iteration, loss in enumerate(training, start=1):
        if iteration % every == 0:
            if loss is not None and not torch.isfinite(loss):
                raise Diverged(f"the query loss is not finite at iteration {iteration}")
            look(iteration)
            yield iteration / iterations
