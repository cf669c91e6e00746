"""Does the timing tell differences that are there, and none that are not?

The implementation `unrolled` is timed under three names, as `cost` times its first case in the full profile:
`reference`, `again`, which is the same code, and `slowed`, which takes 5 % longer by construction. A seed is a trial,
with its own processes, tasks, weights and order of turns. Run on request: `make selfcheck`.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from baselines.handwritten.unrolled import Unrolled
from experiments import cost
from experiments.harness.experiment import PROFILES, Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.ring import SIZE, Call, Ring
from experiments.harness.measure.setup import Setup
from experiments.harness.records import Case, Options, Result

TRIALS = 40
SLOWDOWN = 0.05
CERTIFIED = "full"  # the profile of `cost` that is checked, in every profile: three processes could not resolve 5 %

COLUMNS = ("step_ms", "cpu_per_wall")


def cases(options: Options) -> list[Case]:
    """Return one trial for each seed."""
    first = cost.cases(replace(options, profile=CERTIFIED))[0]
    return [replace(first, experiment="selfcheck", seed=seed) for seed in options.seeds or range(TRIALS)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Time one of the three in turn with the others."""
    setup = Setup(spec := bench.spec(bench.dtype), Unrolled(spec))

    def once(prepared: Any) -> Any:
        result = setup.baseline.meta_gradient(prepared)
        setup.baseline.synchronize()  # in all three alike, since `slowed` has to wait for the end of a call
        return result

    ring = Ring(setup, [bench.batch(i) for i in range(SIZE)], slowed(once) if bench.name == "slowed" else once)
    ring.whole_call_ms()  # the first one of a process is much slower
    _, samples = yield from cost.in_rounds(bench, ring)
    return Result(samples={name: samples[name] for name in COLUMNS})


def slowed(call: Call, clock: Callable[[], float] = time.process_time) -> Call:
    """Return a function that makes a call and then waits, busily, for 5 % of the processor time that the call took.

    It waits, since the time of 5 % more work would depend on caches and the allocator. It is busy, since a process that
    sleeps wakes up late, on a core with a lower clock rate or other data in its caches. It counts processor time, since
    a wait by wall time includes the time that other processes have the core: where they had half of it, calls took 10 %
    longer.
    """

    def longer(prepared: Any) -> Any:
        start = clock()
        result = call(prepared)
        end = clock()
        until = end + SLOWDOWN * (end - start)
        while clock() < until:
            pass
        return result

    return longer


PROCESSES = dict.fromkeys(PROFILES, cost.PROCESSES[CERTIFIED])
EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("time", measure, timed=True, processes=PROCESSES),),
    compared=("reference", "again", "slowed"),
    by_default=False,
    references=("reference",),
)
