"""Adam on the meta-gradient of an implementation: MAML and FOMAML as in Finn et al. 2017, and pre-training."""

from collections.abc import Generator

import torch

from experiments.harness.bench import Bench
from experiments.harness.outer_loop import outer_loop
from experiments.harness.status import Diverged
from experiments.recipes import LOOKS, Trained


def train(bench: Bench) -> Generator[float, None, Trained]:
    """The case's iterations, tasks and step sizes; the implementation is verified before."""
    bench.verify()
    p = bench.params
    every = max(1, p["iterations"] // LOOKS)
    training = outer_loop(bench.setup, p["outer_lr"], bench.batches(p["iterations"]))
    for iteration, loss in enumerate(training, start=1):
        if iteration % every == 0:
            if loss is not None and not torch.isfinite(loss):
                raise Diverged(f"the query loss is not finite at iteration {iteration}")
            yield iteration / p["iterations"]
    return Trained(bench.setup.spec.model, p["inner_lr"], p["family"])
