"""What does sharding a meta-batch over ranks gain, and what does its all-reduce cost?

Under torchrun each rank computes its share of the tasks, and one all-reduce adds up what they found. Block after block,
the same processes time the meta-gradient over all ranks, that of the whole meta-batch on rank 0 while the others wait,
and an all-reduce of as many bytes alone. How many ranks a network would bear is computed from that, for links that are
assumed (`experiments/harness/measure/communication.py`). Run on request.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Generator

import torch

from baselines.contract import undisturbed
from experiments.harness.case import Case, Json, Options
from experiments.harness.distributed.sharded import Sharded, add_up, from_leader
from experiments.harness.experiment import Experiment, Pass, Result
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.communication import LINKS, dominated_from, work_for

ROUNDS = {"quick": 5, "full": 10}
PROCESSES = {"quick": 3, "full": 6}
BLOCK_MS = 50.0
MANY = 1000  # ranks all over the world

PERCEPTRON = {"hidden": 2, "width": 40, "activation": "relu"}
CNN = {"side": 28, "channels": 1, "blocks": 4, "filters": 64, "strided": True, "outputs": 5, "loss": "cross-entropy"}
SINUSOIDS: dict[str, Json] = {"family": "sinusoid", "model": PERCEPTRON, "inner_lr": 0.01}
SETTINGS: dict[str, dict[str, Json]] = {
    "notebook": SINUSOIDS | {"tasks": 10, "inner_steps": 1, "shots": 5, "queries": 5},
    "many-tasks": SINUSOIDS | {"tasks": 100, "inner_steps": 5, "shots": 10, "queries": 10},
    "few-shot-cnn": {
        "family": "glyphs",
        "model": CNN,
        "ways": 5,
        "tasks": 8,
        "inner_steps": 1,
        "shots": 1,
        "queries": 5,
        "inner_lr": 0.4,
        "verify_in": "float64",
    },
}


def cases(options: Options) -> list[Case]:
    """The notebook's meta-batch, a larger one of the same network, and episodes of the few-shot network."""
    repeats = {"rounds": ROUNDS[options.profile], "processes": PROCESSES[options.profile]}
    seed = (options.seeds or (0,))[0]
    return [
        Case("sharding", name, params | repeats, options.device, "float32", seed, options.threads)
        for name, params in SETTINGS.items()
    ]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """All ranks do this at once, and call the same collectives in the same order."""
    yield 0.0
    row = bench.verify()
    shared, batch = bench.setup.baseline, bench.batch(0)
    assert isinstance(shared, Sharded)
    alone = shared.baseline
    part, whole = shared.prepare(batch), alone.prepare(batch) if bench.share.leads else None
    values = shared.new_values(bench.params["tasks"])  # zeros, which sums leave zeros
    calls: dict[str, Callable[[], object]] = {
        "step_ms": lambda: shared.meta_gradient(part),
        "single_ms": lambda: alone.to_torch(alone.meta_gradient(whole)) if bench.share.leads else None,
        "allreduce_ms": lambda: add_up(values),
    }
    blocks = {name: Block(bench, call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in (*calls, "efficiency")}
    for turn in range(bench.params["rounds"]):
        for name, block in blocks.items():
            samples[name].append(block.milliseconds())
        samples["efficiency"].append(samples["single_ms"][-1] / samples["step_ms"][-1] / bench.params["ranks"])
        yield (turn + 1) / (bench.params["rounds"] + 1)
    size = values.numel() * values.element_size()
    row |= {
        "ranks": bench.params["ranks"],
        "parameters": shared.size,
        "allreduce_bytes": size,
        "execution": shared.execution,
    }
    work_s = statistics.median(samples["single_ms"]) / 1e3
    return Result(row=row | predicted(size, work_s, bench.params["tasks"]), samples=samples, note=crowded(bench))


class Block:
    """A call that all ranks time together, as often as rank 0 finds it takes for 50 ms."""

    def __init__(self, bench: Bench, call: Callable[[], object]) -> None:
        self.call, self.synchronize = call, bench.setup.baseline.synchronize
        self.start_line = torch.zeros(1, device=bench.device)
        self.calls = 1
        self.milliseconds()
        count = torch.tensor([max(1, math.ceil(BLOCK_MS / self.milliseconds()))], device=bench.device)
        from_leader(count)
        self.calls = int(count)

    @undisturbed()
    def milliseconds(self) -> float:
        """Of one call, the mean of a block that all begin at once."""
        add_up(self.start_line)
        self.synchronize()
        start = time.perf_counter()
        for _ in range(self.calls):
            self.call()
        self.synchronize()
        return (time.perf_counter() - start) / self.calls * 1e3


def predicted(size: int, work_s: float, tasks: int) -> dict[str, Json]:
    """What links that are assumed would make of these bytes and this time of a whole meta-batch on one rank."""
    row: dict[str, Json] = {f"{name}_ranks": dominated_from(link, size, work_s) for name, link in LINKS.items()}
    return row | {"internet_tasks": math.ceil(work_for(LINKS["internet"], size, MANY) / (work_s / tasks))}


def crowded(bench: Bench) -> str:
    """What is to be said where ranks share cores: they take turns there, and gain nothing."""
    ranks, threads, cores = int(os.environ["LOCAL_WORLD_SIZE"]), bench.case.threads, os.cpu_count() or 1
    if bench.case.device == "cuda" or ranks * threads <= cores:
        return ""
    return f"oversubscribed: {ranks} ranks of {threads} thread{'s' * (threads > 1)} on {cores} cores"


EXPERIMENT = Experiment(
    cases=cases,
    passes=(Pass("time", measure),),
    for_compiled=lambda case: case.name != "few-shot-cnn",
    by_default=False,
    ranks="several",
    columns={
        "ranks": "ranks that the meta-batch was sharded over",
        "step_ms": "milliseconds for one meta-gradient of the whole meta-batch over all ranks, all-reduce included",
        "single_ms": "milliseconds for the same on rank 0 alone, the others waiting",
        "efficiency": "single_ms / (ranks · step_ms), of blocks timed one after the other: 1 is perfect",
        "allreduce_ms": "milliseconds for the all-reduce alone",
        "parameters": "numbers in the meta-gradient",
        "allreduce_bytes": "bytes in the one all-reduce of a step: meta-gradient, task losses and two counts",
        "fabric_ranks": "computed: ranks from which on a ring over 100 Gbit/s and 5 µs takes longer than the work "
        "between two all-reduces, if every rank computes a meta-batch of this size, as in single_ms",
        "internet_ranks": "computed: the same over 100 Mbit/s and 50 ms",
        "internet_tasks": f"computed: tasks that each of {MANY} ranks has to compute for each all-reduce over 100 "
        "Mbit/s and 50 ms, by ring or tree, for half of the time to be work",
        "execution": "how it ran on rank 0, where the implementation chooses",
        "oracle": "what the sharded meta-gradient was verified against before it was timed",
        "error_float64": "its error against the oracle in float64",
        "error_float32": "its error against the oracle in float32",
    },
    markdown=(
        "step_ms",
        "single_ms",
        "efficiency",
        "allreduce_ms",
        "allreduce_bytes",
        "fabric_ranks",
        "internet_ranks",
        "internet_tasks",
    ),
    best_first="step_ms",
)
