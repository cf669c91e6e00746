"""Does the timing tell differences that are there, and none that are not?

One implementation, `unrolled`, three times over, timed as `cost` times in its full profile, at its first setting:
`again` is `reference` itself, `slowed` takes 5 % longer by construction. A seed is a trial: it has processes, tasks,
weights and an order of turns of its own. Run on request: `make selfcheck`.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import replace

from baselines.handwritten.unrolled import Unrolled
from experiments import cost
from experiments.harness.bench import Bench, Setup
from experiments.harness.case import Case, Options
from experiments.harness.experiment import PROFILES, Experiment, Pass, Result

TRIALS = 40
SLOWDOWN = 0.05
CERTIFIED = "full"  # whatever the profile of this run: three processes could not tell 5 %

Call = Callable[[], None]


def cases(options: Options) -> list[Case]:
    """A trial per seed."""
    setting = cost.cases(replace(options, profile=CERTIFIED))[0]
    return [replace(setting, experiment="selfcheck", seed=seed) for seed in options.seeds or range(TRIALS)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Time one of the three in turns with the others."""
    baseline = Setup(spec := bench.spec(bench.dtype), Unrolled(spec)).baseline
    prepared = baseline.prepare(bench.batch(0))

    def once() -> None:
        baseline.meta_gradient(prepared)
        baseline.synchronize()  # in all three alike: to be slowed, a call has to be over

    call = slowed(once) if bench.subject == "slowed" else once
    call()  # the first one of a process is much slower
    return Result(samples=(yield from cost.in_rounds(bench, call, baseline.synchronize)))


def slowed(call: Call, clock: Callable[[], float] = time.process_time) -> Call:
    """`call`, then a busy wait of 5 % of what it took this time.

    A wait, since more work would take 5 % more only about: caches and the allocator have their say. Busy, since who
    sleeps wakes up late, on a core that has clocked down or has something else in its caches. In processor time, since
    by the clock on the wall a wait goes on for as long as something else has the core: where half of it was taken by
    others, calls took 10 % longer.
    """

    def longer() -> None:
        start = clock()
        call()
        end = clock()
        until = end + SLOWDOWN * (end - start)
        while clock() < until:
            pass

    return longer


EXPERIMENT = Experiment(
    cases=cases,
    passes=(Pass("time", measure, timed=True, processes=dict.fromkeys(PROFILES, cost.PROCESSES[CERTIFIED])),),
    subjects=("reference", "again", "slowed"),
    by_default=False,
    columns={name: cost.EXPERIMENT.columns[name] for name in ("step_ms", "cpu_per_wall")},
    markdown=("step_ms", "speedup_vs_reference", "cpu_per_wall"),
    references=("reference",),
    ratio_of="step_ms",
)
