"""What does one meta-gradient cost in each implementation, in time and in memory?

One call on data that is resident already, in float32: at the tutorial notebook's setting (10 tasks, 1 inner step,
5 shots, width 40) and at a heavier one (100 tasks, 5 inner steps, 10 shots). Conversions into a framework's own
arrays are timed apart. Times of different round groups are never compared.
"""

import itertools
from collections.abc import Generator

from experiments.harness import clock, memory
from experiments.harness.bench import Bench
from experiments.harness.case import Case, Options
from experiments.harness.experiment import Experiment, Pass, Result

SETTINGS = ((10, 1, 5, 40), (100, 5, 10, 40))  # tasks, inner steps, shots, width
PROCESSES = {"quick": 3, "full": 8}
ROUNDS = {"quick": 3, "full": 12}


def cases(options: Options) -> list[Case]:
    """One per setting; the first seed only, since the cost does not depend on the tasks drawn."""
    return [
        Case(
            "cost",
            f"tasks{tasks}-steps{steps}-shots{shots}" + ("" if options.model else f"-width{width}"),
            {
                "family": "sinusoid",
                "model": options.model or {"hidden": 2, "width": width, "activation": "relu"},
                "tasks": tasks,
                "shots": shots,
                "queries": shots,
                "inner_lr": 0.01,
                "inner_steps": steps,
                "rounds": ROUNDS[options.profile],
            },
            options.device,
            "float32",
            (options.seeds or (0,))[0],
            options.threads,
        )
        for tasks, steps, shots, width in SETTINGS
    ]


def measure_memory(bench: Bench) -> Generator[float, None, Result]:
    """The memory of one call, in a process that has done nothing else."""
    yield 0.0
    baseline, batch = bench.setup.baseline, bench.batch(0)
    prepared = baseline.prepare(batch)
    resident = itertools.chain(bench.setup.spec.model.parameters(), bench.setup.spec.model.buffers(), batch)
    size = sum(t.numel() * t.element_size() for t in resident)
    row, empty = memory.peaks(lambda: baseline.meta_gradient(prepared), size, bench.device)
    return Result(row=row, empty=empty)


def measure_time(bench: Bench) -> Generator[float, None, Result]:
    """Verify, time block after block in turns with the others, and verify again."""
    baseline, batch = bench.setup.baseline, bench.batch(0)
    row = bench.verify()
    prepared = baseline.prepare(batch)
    yield 0.0
    step_ms, cpu_per_wall = [], []
    for turn in range(bench.params["rounds"]):
        ms, cpu = clock.block(lambda: baseline.meta_gradient(prepared), baseline.synchronize)
        step_ms.append(ms)
        cpu_per_wall.append(cpu)
        yield (turn + 1) / (bench.params["rounds"] + 1)
    conversion_ms, _ = clock.block(lambda: baseline.prepare(batch), baseline.synchronize)
    bench.verify()
    samples = {"step_ms": step_ms, "cpu_per_wall": cpu_per_wall, "conversion_ms": [conversion_ms]}
    return Result(row=row, samples=samples)


EXPERIMENT = Experiment(
    cases=cases,
    passes=(
        Pass("memory", measure_memory),
        Pass("time", measure_time, timed=True, processes=PROCESSES),
    ),
    columns={
        "step_ms": "milliseconds for one meta-gradient of the whole meta-batch, data resident",
        "conversion_ms": "milliseconds to bring batch and parameters into the framework's own form, beside step_ms",
        "cpu_per_wall": "CPU time over wall time while timed; above 1, more than one core was at work",
        "peak_gpu_mib": "peak GPU memory allocated during the first call, workspaces included, MiB",
        "peak_gpu_reserved_mib": "peak GPU memory reserved from the driver in the first call, MiB",
        "resident_gpu_mib": "GPU memory allocated before the call, model and batch resident, MiB",
        "peak_tensor_mib": "peak of all tensors during one call, model and batch included, MiB",
        "resident_rss_mib": "resident memory of the process before its first call, MiB",
        "peak_rss_mib": "peak resident memory of the process during its first call, MiB",
        "oracle": "what it was verified against, before and after timing",
        "error_float64": "error against the oracle in float64",
        "error_float32": "error of the very object that was timed, in float32",
    },
    markdown=(
        "step_ms",
        "speedup_vs_learn2learn",
        "speedup_vs_higher",
        "peak_gpu_mib",
        "peak_tensor_mib",
        "peak_rss_mib",
        "error_float32",
    ),
    references=("learn2learn", "higher"),
    ratio_of="step_ms",
    best_first="step_ms",
    figures=(
        {
            "kind": "intervals",
            "name": "cost_time",
            "title": "Time of one meta-gradient",
            "values": ["step_ms"],
            "xlabel": "milliseconds (median, 95 % interval)",
        },
        {
            "kind": "intervals",
            "name": "cost_memory",
            "title": "Peak memory of one meta-gradient",
            "values": ["peak_gpu_mib", "peak_tensor_mib", "peak_rss_mib"],
            "xlabel": "MiB",
        },
    ),
)
