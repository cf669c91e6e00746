"""Does the timing tell differences that are there, and none that are not?

One implementation, `unrolled`, three times over, timed as `cost` times in its full profile, at its first setting:
`again` is `reference` itself, `slowed` takes 5 % longer by construction. A seed is a trial: it has processes, tasks,
weights and an order of turns of its own. Run on request: `make selfcheck`.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from baselines.handwritten.unrolled import Unrolled
from experiments import cost
from experiments.harness.case import Case, Options
from experiments.harness.experiment import PROFILES, Experiment, Pass, Result
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.ring import SIZE, Call, Ring
from experiments.harness.measure.setup import Setup

TRIALS = 40
SLOWDOWN = 0.05
CERTIFIED = "full"  # whatever the profile of this run: three processes could not tell 5 %

COLUMNS = ("step_ms", "cpu_per_wall")


def cases(options: Options) -> list[Case]:
    """A trial per seed."""
    setting = cost.cases(replace(options, profile=CERTIFIED))[0]
    return [replace(setting, experiment="selfcheck", seed=seed) for seed in options.seeds or range(TRIALS)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Time one of the three in turns with the others."""
    setup = Setup(spec := bench.spec(bench.dtype), Unrolled(spec))

    def once(prepared: Any) -> Any:
        result = setup.baseline.meta_gradient(prepared)
        setup.baseline.synchronize()  # in all three alike: to be slowed, a call has to be over
        return result

    ring = Ring(setup, [bench.batch(i) for i in range(SIZE)], slowed(once) if bench.subject == "slowed" else once)
    ring.whole_call_ms()  # the first one of a process is much slower
    _, samples = yield from cost.in_rounds(bench, ring)
    return Result(samples={name: samples[name] for name in COLUMNS})


def slowed(call: Call, clock: Callable[[], float] = time.process_time) -> Call:
    """`call`, then a busy wait of 5 % of what it took this time.

    A wait, since more work would take 5 % more only about: caches and the allocator have their say. Busy, since who
    sleeps wakes up late, on a core that has clocked down or has something else in its caches. In processor time, since
    by the clock on the wall a wait goes on for as long as something else has the core: where half of it was taken by
    others, calls took 10 % longer.
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


EXPERIMENT = Experiment(
    cases=cases,
    passes=(Pass("time", measure, timed=True, processes=dict.fromkeys(PROFILES, cost.PROCESSES[CERTIFIED])),),
    subjects=("reference", "again", "slowed"),
    by_default=False,
    references=("reference",),
)
