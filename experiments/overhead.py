"""What does the harness itself cost in a training run?

The same implementation, `unrolled`, on the same batches: once through the harness' outer loop with its streams and
digests, once in a bare loop over batches that were made beforehand. Run on request: `make overhead`.
"""

from collections.abc import Callable, Generator

import torch

from baselines.contract import trainable
from baselines.handwritten.unrolled import Unrolled
from experiments.harness import clock
from experiments.harness.bench import Bench, Setup
from experiments.harness.case import Case, Options
from experiments.harness.experiment import Experiment, Pass, Result
from experiments.harness.outer_loop import outer_loop
from experiments.training import MODEL, OUTER_LR

BATCHES = 1000
ROUNDS = 20
PROCESSES = {"quick": 5, "full": 10}


def cases(options: Options) -> list[Case]:
    """The tutorial notebook's training."""
    params = {
        "family": "sinusoid",
        "model": options.model or MODEL,
        "tasks": 10,
        "shots": 5,
        "queries": 5,
        "inner_lr": 0.01,
        "inner_steps": 1,
    }
    return [Case("overhead", "notebook", params, options.device, "float32", 0, options.threads)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Time iterations of one of the two loops."""
    setup = Setup(spec := bench.spec(bench.dtype), Unrolled(spec))
    iterate = {"harness": through_harness, "bare-loop": bare_loop}[bench.subject](bench, setup)
    yield 0.0
    samples = []
    for turn in range(ROUNDS):
        samples.append(clock.block(iterate, setup.baseline.synchronize)[0])
        yield (turn + 1) / (ROUNDS + 1)
    return Result(samples={"iteration_ms": samples})


def through_harness(bench: Bench, setup: Setup) -> Callable[[], object]:
    """One iteration as a training run does it."""
    training = outer_loop(setup, OUTER_LR, bench.batches(10**9))
    losses: list[torch.Tensor | None] = []
    return lambda: losses.append(next(training))


def bare_loop(bench: Bench, setup: Setup) -> Callable[[], object]:
    """One iteration of a loop that anyone would write, over batches that are there."""
    batches = [bench.batch(i) for i in range(BATCHES)]
    parameters = trainable(setup.spec.model)
    adam = torch.optim.Adam(parameters.values(), lr=OUTER_LR)
    count = 0

    def iterate() -> None:
        nonlocal count
        _, grads = setup.baseline.meta_gradient(batches[count % BATCHES])
        for name, p in parameters.items():
            p.grad = grads[name]
        adam.step()
        count += 1

    return iterate


EXPERIMENT = Experiment(
    cases=cases,
    passes=(Pass("time", measure, timed=True, processes=PROCESSES),),
    subjects=("bare-loop", "harness"),
    by_default=False,
    columns={"iteration_ms": "milliseconds for one meta-iteration: batch, meta-gradient, Adam"},
    markdown=("iteration_ms", "speedup_vs_bare-loop"),
    references=("bare-loop",),
    ratio_of="iteration_ms",
    best_first="iteration_ms",
)
