"""What does sharding a meta-batch over ranks gain, and what does its all-reduce cost?

Under torchrun each rank computes the meta-gradient of its share of the tasks, and one all-reduce adds them up. Block
after block, the same processes time the meta-gradient over all ranks, that of the whole meta-batch on rank 0 while the
others wait, and an all-reduce of as many bytes alone. Run on request.
"""

import math
import os
import time
from collections.abc import Callable, Generator

import torch

from baselines.contract import undisturbed
from experiments.harness.distributed.sharded import Sharded, add_up, from_leader
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options, Parameter, Parameters, Result

ROUNDS = {"quick": 5, "full": 10}
PROCESSES = {"quick": 3, "full": 6}
BLOCK_MS = 50.0

PERCEPTRON: dict[str, Parameter] = {"hidden": 2, "width": 40, "activation": "relu"}
CNN: dict[str, Parameter] = {
    "side": 28,
    "channels": 1,
    "blocks": 4,
    "filters": 64,
    "strided": True,
    "outputs": 5,
    "loss": "cross-entropy",
}
SINUSOIDS: dict[str, Parameter] = {"family": "sinusoid", "model": PERCEPTRON, "inner_lr": 0.01}
PARAMS: dict[str, dict[str, Parameter]] = {
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
    """Return the cases: the notebook's meta-batch, a larger one of the same network, and few-shot episodes."""
    repeats = {"rounds": ROUNDS[options.profile], "processes": PROCESSES[options.profile]}
    seed = (options.seeds or (0,))[0]
    return [
        Case("sharding", name, Parameters(params).extended(**repeats), options.device, "float32", seed, options.threads)
        for name, params in PARAMS.items()
    ]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Verify, then time the three calls in turn; all ranks run this at once and call the same collectives in order."""
    yield 0.0
    row = bench.verify()
    shared, batch = bench.setup.baseline, bench.batch(0)
    assert isinstance(shared, Sharded)
    alone = shared.baseline
    part, whole = shared.prepare(batch), alone.prepare(batch) if bench.share.leads else None
    values = shared.new_values(bench.params.integer("tasks"))  # zeros, which sums leave zeros
    calls: dict[str, Callable[[], object]] = {
        "step_ms": lambda: shared.meta_gradient(part),
        "single_ms": lambda: alone.to_torch(alone.meta_gradient(whole)) if bench.share.leads else None,
        "allreduce_ms": lambda: add_up(values),
    }
    blocks = {name: Block(bench, call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in (*calls, "efficiency")}
    for turn in range(bench.params.integer("rounds")):
        for name, block in blocks.items():
            samples[name].append(block.milliseconds())
        samples["efficiency"].append(samples["single_ms"][-1] / samples["step_ms"][-1] / bench.params.integer("ranks"))
        yield (turn + 1) / (bench.params.integer("rounds") + 1)
    size = values.numel() * values.element_size()
    row |= {
        "ranks": bench.params.integer("ranks"),
        "parameters": shared.size,
        "allreduce_bytes": size,
        "execution": shared.execution,
    }
    return Result(row=row, samples=samples, note=crowded(bench))


class Block:
    """A call that all ranks time together, repeated as often as fills 50 ms on rank 0."""

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
        """Time a block of calls that all ranks begin at once; return the mean of one call."""
        add_up(self.start_line)
        self.synchronize()
        start = time.perf_counter()
        for _ in range(self.calls):
            self.call()
        self.synchronize()
        return (time.perf_counter() - start) / self.calls * 1e3


def crowded(bench: Bench) -> str:
    """Return a note for cells whose ranks share cores, where they take turns and gain nothing; empty for others."""
    ranks, threads, cores = int(os.environ["LOCAL_WORLD_SIZE"]), bench.case.threads, os.cpu_count() or 1
    if bench.case.device == "cuda" or ranks * threads <= cores:
        return ""
    return f"oversubscribed: {ranks} ranks of {threads} thread{'s' * (threads > 1)} on {cores} cores"


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("time", measure),),
    for_compiled=lambda case: case.name != "few-shot-cnn",
    by_default=False,
    ranks="several",
)
