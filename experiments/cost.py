"""What does one meta-gradient cost in each implementation, in time and in memory, and how does that grow?

One call on data that is on the device already, in float32 unless the case has another dtype. Conversions into a
framework's own arrays are timed separately, and so are the first calls of implementations that compile. The quick
profile has the tutorial notebook's case; the full one also has a case of many tasks, one of a wide network and one of a
convolutional network, in many rounds, and varies one factor at a time around 25 tasks, 5 inner steps, 10 shots and
width 40. Times of different round groups are never compared.
"""

import itertools
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from torch import Tensor

from experiments.harness.experiment import PROFILES, Experiment, Measurement
from experiments.harness.measure import clock, memory
from experiments.harness.measure.arithmetic import arithmetic_ms, layers
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.clock import perf_counter
from experiments.harness.measure.ring import SIZE, Block, Ring
from experiments.harness.records import Case, Options, Parameter, Parameters, Result
from experiments.problems.tasks import family

PROCESSES = {"quick": 3, "full": 8}
ROUNDS = {"quick": 3, "full": 12}

CNN = {"side": 28, "channels": 1, "blocks": 3, "filters": 64}
NOTEBOOK = (10, 1, 5, 40)  # tasks, inner steps, shots, width
MANY_TASKS = (100, 5, 10, 40)
WIDE = (25, 5, 10, 256)
CONVOLUTIONAL = (4, 5, 5, CNN)
SIZES: dict[str, tuple[tuple[int, int, int, Any], ...]] = {
    "quick": (NOTEBOOK,),
    "full": (NOTEBOOK, MANY_TASKS, WIDE, CONVOLUTIONAL),
}
TASKS = (1, 10, 25, 100, 1000)
STEPS = (0, 1, 5, 20, 50)
WIDTHS = (40, 128, 256, 512)
FEW_STEPS = (1, 5, 50)
SLOW_PROCESSES = 4  # a round with the convolutional network takes a quarter of a minute
STUDY_ROUNDS = 5
STUDY_PROCESSES = 3  # studies show how cost grows over decades, not differences of a few per cent


def cases(options: Options) -> list[Case]:
    """Return a case for each of SIZES and, in the full profile, the studies of single factors; the first seed only."""
    compared = [_case(options, sizes, ROUNDS[options.profile]) for sizes in SIZES[options.profile]]
    if options.profile == "quick" or options.model:
        return _thorough(compared)
    studies: dict[tuple[Any, ...], dict[str, int]] = {}  # by sizes: the factors that they are a point of
    for tasks in TASKS:
        studies.setdefault((tasks, 5, 10, 40), {})["tasks"] = tasks
    for steps in STEPS:
        studies.setdefault((25, steps, 10, 40), {})["inner_steps"] = steps
    for width in WIDTHS:
        studies.setdefault((25, 5, 10, width), {})["width"] = width
    varied = [_case(options, sizes, STUDY_ROUNDS, factors) for sizes, factors in studies.items()]
    memory = [_case(options, (25, steps, 100, 40), 0, {"shots100_inner_steps": steps}) for steps in FEW_STEPS]
    return _thorough(compared + varied + memory + [_convolutional_memory(options, steps) for steps in FEW_STEPS])


def _thorough(cases: list[Case]) -> list[Case]:
    """Mark the first case of each network and dtype to check the terms of the contract that need other shapes, too."""
    seen = []
    for i, case in enumerate(cases):
        if (kind := (case.params.part("model"), case.dtype)) not in seen:
            seen.append(kind)
            cases[i] = replace(case, params=case.params.extended(thorough=True))
    return cases


def _convolutional_memory(options: Options, steps: int) -> Case:
    """Return a case of the convolutional network that is verified and measured for its memory only.

    It is in float64 and with a small α, since in float32 rounding carries some unit across its kink within 50 steps,
    whatever the meta-batch: nothing could be verified.
    """
    case = _case(options, (4, steps, 5, CNN), 0, {"cnn_inner_steps": steps})
    return replace(case, dtype="float64", params=case.params.extended(inner_lr=0.001))


def _case(
    options: Options, sizes: tuple[int, int, int, Any], rounds: int, factors: dict[str, int] | None = None
) -> Case:
    """Return one case; with `rounds` = 0 it is verified and measured for its memory, and nothing is timed."""
    tasks, steps, shots, size = sizes
    perceptron = {"hidden": 2, "width": size, "activation": "relu"}
    network: Parameter = options.model.parameters if options.model else size if isinstance(size, dict) else perceptron
    slow = isinstance(size, dict) and not options.model
    suffix = "" if options.model else "-cnn" if slow else f"-width{size}"
    params = Parameters(
        family="images_28" if slow else "sinusoid",
        model=network,
        tasks=tasks,
        shots=shots,
        queries=shots,
        inner_lr=0.01,
        inner_steps=steps,
        rounds=rounds,
    )
    name = f"tasks{tasks}-steps{steps}-shots{shots}{suffix}"
    if slow:
        params["processes"] = SLOW_PROCESSES
    if factors:
        params = params.extended(study={"factors": factors}, processes=STUDY_PROCESSES if rounds else 1)
        name = f"study-{name}"
    seed = (options.seeds or (0,))[0]
    return Case("cost", name, params, options.device, "float32", seed, options.threads)


def measure_first_step(bench: Bench) -> Generator[float, None, Result]:
    """Time a process' first call: in the first process with an empty compile cache, in the second with a filled one."""
    yield 0.0
    baseline, batch = bench.setup.baseline, bench.batch(0)
    yield 0.1
    start = perf_counter()
    baseline.meta_gradient(baseline.prepare(batch))
    baseline.synchronize()
    name = "first_step_warm_s" if bench.repeat else "first_step_cold_s"
    return Result(row={name: perf_counter() - start})


def measure_memory(bench: Bench) -> Generator[float, None, Result]:
    """Measure the memory of one call, in a process that has done nothing else."""
    yield 0.0
    baseline, batch = bench.setup.baseline, bench.batch(0)
    prepared = baseline.prepare(batch)
    resident = itertools.chain(bench.setup.spec.model.parameters(), bench.setup.spec.model.buffers(), batch)
    size = sum(t.numel() * t.element_size() for t in resident)
    seconds: list[float] = []

    def call() -> object:
        start = perf_counter()
        result = baseline.meta_gradient(prepared)
        seconds.append(perf_counter() - start)
        return result

    row, empty = memory.peaks(call, size, bench.device, baseline.framework)
    if baseline.compiles and bench.device.type == "cuda" and row.pop("peak_tensor_mib", None):
        empty["peak_tensor_mib"] = "PyTorch's profiler sees no allocations of a recorded CUDA graph"
    row |= {"compiled": baseline.compiles, "execution": baseline.execution}
    if not baseline.compiles:  # else there is a measurement for it
        row |= dict.fromkeys(("first_step_cold_s", "first_step_warm_s"), seconds[0])
    return Result(row=row, empty=empty)


def measure_conformance(bench: Bench) -> Generator[float, None, Result]:
    """Check every term of the contract, before anything is timed."""
    yield 0.0
    return Result(row=bench.verify())


def measure_time(bench: Bench) -> Generator[float, None, Result]:
    """Verify; time a block in each round, in turn with the other implementations; judge a timed call; verify again."""
    row = bench.verify()
    if not bench.params.integer("rounds"):
        yield 0.0
        return Result(row=row)
    batches = [bench.batch(i) for i in range(SIZE)]
    ring = Ring(bench.setup, batches)
    blocks, samples = yield from in_rounds(bench, ring)
    samples |= arithmetic(bench, batches[0].support_x)
    bench.judge_timed(ring, blocks)
    ring.rest()
    bench.verify()
    return Result(row=row, samples=samples)


def in_rounds(bench: Bench, ring: Ring) -> Generator[float, None, tuple[list[Block], dict[str, list[float]]]]:
    """Time a block of calls and a whole call in each round; return the blocks and the samples of every round."""
    yield 0.0
    blocks, whole_call_ms = [], []
    for turn in range(bench.params.integer("rounds")):
        blocks.append(ring.block())
        whole_call_ms.append(ring.whole_call_ms())
        yield (turn + 1) / (bench.params.integer("rounds") + 1)
    names = ("step_ms", "conversion_ms", "cpu_per_wall")
    samples = {name: [getattr(block, name) for block in blocks] for name in names}
    return blocks, samples | {"whole_call_ms": whole_call_ms}


def arithmetic(bench: Bench, like: Tensor) -> dict[str, list[float]]:
    """Estimate arithmetic_ms, the time of the adjoint sweep's products for a perceptron; empty for other networks.

    It is empty, too, for implementations that do not compute second-order MAML.
    """
    p = bench.params
    if bench.computes != "maml" or "hidden" not in p.part("model"):
        return {}
    sizes = layers(p.part("model"), family(p.text("family")).inputs)
    points, steps = (p.integer("shots"), p.integer("queries")), p.integer("inner_steps")

    def milliseconds(call: Callable[[], object]) -> float:
        return clock.block(call, bench.setup.baseline.synchronize)

    return {"arithmetic_ms": [arithmetic_ms(sizes, p.integer("tasks"), steps, points, like, milliseconds)]}


FACTORS = {"tasks": "tasks in the meta-batch", "inner_steps": "inner steps K", "width": "hidden units per layer"}
MEMORY_FACTORS = {
    "tasks": "tasks in the meta-batch",
    "inner_steps": "inner steps K, 10 shots",
    "shots100_inner_steps": "inner steps K, 100 shots",
}
CNN_FACTORS = {"cnn_inner_steps": "inner steps K"}
COLD_AND_WARM = dict.fromkeys(PROFILES, 2)
EXPERIMENT = Experiment(
    cases=cases,
    measurements=(
        Measurement("first step", measure_first_step, timed=True, processes=COLD_AND_WARM, compiled_only=True),
        Measurement("conformance", measure_conformance),
        Measurement("memory", measure_memory),
        Measurement("time", measure_time, timed=True, processes=PROCESSES),
    ),
    references=("learn2learn", "higher", "jax", "jax-mixed-mode"),
)
