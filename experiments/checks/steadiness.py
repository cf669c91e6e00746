"""Does a long training run keep the memory it has, or does it lose some with every iteration?

The tutorial notebook's training, its first seed, with the harness' outer loop; 50,000 iterations in the full profile.
The first tenth warms up allocators and caches and does not count. From then on memory is read at regular intervals,
after Python's garbage collection, since `higher` and others leave reference cycles behind. The bytes of all live
tensors have to be the same at every reading, and resident memory has to grow by less than 5 MB. Run on request: `make
load`.
"""

import math
from collections.abc import Generator
from dataclasses import replace

from experiments import training
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure import memory
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.records import Case, Options, Parameters, Result, Row
from experiments.harness.status import Diverged

ITERATIONS = {"quick": 2_000, "full": 50_000}
WARM_UP = 0.1  # of the iterations
LOOKS = 90  # readings after the first
MOST_MIB = 5e6 / memory.MIB


def cases(options: Options) -> list[Case]:
    """Return the notebook's training with the profile's number of iterations, for each seed."""
    first = training.cases(options)[0]
    iterations = ITERATIONS[options.profile]
    return [
        replace(
            first, experiment="steadiness", name=f"notebook-{iterations}", seed=seed, params=_params(first, iterations)
        )
        for seed in options.seeds or (0,)
    ]


def _params(first: Case, iterations: int) -> Parameters:
    kept = {name: value for name, value in first.params.items() if name not in ("evaluations", "heldout_tasks")}
    return Parameters(kept).extended(iterations=iterations, looks=LOOKS)


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Train, and read memory after the warm-up and then at regular intervals."""
    yield 0.0
    row = bench.verify()
    iterations = bench.params.integer("iterations")
    warm_up = round(WARM_UP * iterations)
    every = (iterations - warm_up) // bench.params.integer("looks")
    looks: dict[str, list[float]] = {"iteration": [], "tensor_bytes": [], "resident_mib": []}
    loop = outer_loop(bench.setup, bench.params.number("outer_lr"), bench.batches(iterations))
    for iteration, loss in enumerate(loop, start=1):
        if iteration < warm_up or (iteration - warm_up) % every:
            continue
        if loss is not None and not math.isfinite(loss.item()):
            raise Diverged(f"the query loss is not finite at iteration {iteration}")
        looks["iteration"].append(iteration)
        looks["tensor_bytes"].append(memory.live_tensor_bytes(bench.device))
        resident = memory.resident_set()
        if resident is not None:
            looks["resident_mib"].append(resident["VmRSS"] / 1024)
        yield iteration / iterations
    return _result(bench, row | {"iterations": iterations, "warm_up": warm_up}, looks)


def _result(bench: Bench, row: Row, looks: dict[str, list[float]]) -> Result:
    empty: dict[str, str] = {}
    if bench.setup.baseline.framework == "torch":
        row["tensor_mib"] = looks["tensor_bytes"][-1] / memory.MIB
        row["tensor_change_bytes"] = int(max(looks["tensor_bytes"]) - min(looks["tensor_bytes"]))
        row["tensors"] = "not constant" if row["tensor_change_bytes"] else "constant"
    else:
        unseen = f"PyTorch does not see the arrays of {bench.setup.baseline.framework}"
        empty |= dict.fromkeys(("tensor_mib", "tensor_change_bytes", "tensors"), unseen)
        del looks["tensor_bytes"]
    if levels := looks.pop("resident_mib"):
        row["resident_mib"] = levels[0]
        looks["growth_mib"] = [level - levels[0] for level in levels]
    else:
        empty |= dict.fromkeys(("resident_mib", "growth_mib"), "the system does not report a process' resident memory")
    return Result(row=row, empty=empty, series={"memory": looks})


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("train", measure),),
    by_default=False,
)
