"""What does the harness itself cost in a training run?

The same implementation, `unrolled`, on the same meta-batches: once in the harness' outer loop with its streams and
digests, once in a bare loop over meta-batches that were drawn before. Run on request: `make overhead`.
"""

import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import torch

from baselines.contract import trainable
from baselines.handwritten.unrolled import Unrolled
from experiments import training
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.measure.setup import Setup
from experiments.harness.records import Case, Options, Result

ITERATIONS = 50  # of one turn
TURNS = 12
PROCESSES = {"quick": 5, "full": 10}


def cases(options: Options) -> list[Case]:
    """Return the case of the tutorial notebook's training, its first seed."""
    return [replace(training.cases(options)[0], experiment="overhead", name="notebook")]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Time one of the two loops in turn with the other; the first turn, which includes preparation, does not count."""
    setup = Setup(spec := bench.spec(bench.dtype), Unrolled(spec))
    loop = {"harness": through_harness, "bare-loop": bare_loop}[bench.name](bench, setup)
    samples = []
    for turn in range(TURNS):
        start = time.perf_counter()
        for _ in range(ITERATIONS):
            next(loop)
        setup.baseline.synchronize()
        samples.append((time.perf_counter() - start) / ITERATIONS * 1e3)
        yield (turn + 1) / (TURNS + 1)
    return Result(samples={"iteration_ms": samples[1:]})


def through_harness(bench: Bench, setup: Setup) -> Iterator[None]:
    """Yield after each iteration of the harness' outer loop, as in a training run."""
    losses = []
    for loss in outer_loop(setup, training.OUTER_LR, bench.batches(ITERATIONS * TURNS)):
        losses.append(loss)
        yield


def bare_loop(bench: Bench, setup: Setup) -> Iterator[None]:
    """Yield after each iteration of a plain hand-written loop, over meta-batches that exist already."""
    parameters = trainable(setup.spec.model)
    adam = torch.optim.Adam(parameters.values(), lr=training.OUTER_LR)
    for batch in list(bench.batches(ITERATIONS * TURNS)):
        _, grads = setup.baseline.meta_gradient(batch)
        for name, p in parameters.items():
            p.grad = grads[name]
        adam.step()
        yield


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("time", measure, timed=True, processes=PROCESSES),),
    compared=("bare-loop", "harness"),
    by_default=False,
    references=("bare-loop",),
)
