"""Check that all of an implementation's work is in the timed call: not before it, after it, or in other processes."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from baselines.contract import undisturbed
from experiments.harness.measure.clock import perf_counter
from experiments.harness.measure.conversion import allowed_ms, own_ms
from experiments.harness.measure.processors import descendants_s
from experiments.harness.measure.ring import Block, Ring
from experiments.harness.status import Unavailable
from experiments.judging.examined import Examined

OUTSIDE = "it does its work outside the timed call"
REPEATS = 5
TRIALS = 3  # of which one without a finding is enough: hidden work shows every time
PATIENCE_S = 5.0
"""The seconds after which two repeats are enough: noise matters little in calls that take so long."""
IN_A_ROW = 3  # calls that are timed together
HIDDEN = 1.5
"""How many times as long as a timed call a whole call may be, besides the time allowed for preparing and converting."""
HELPERS = 0.1
"""The share of the time that processes started by an implementation may work, such as for housekeeping."""
HELPED = "processes that it started work for it, {:.0%} of the time"
WARMING = 3.0
"""How many times as long as the others the first call of a row may take, which meets other data in the caches."""
STARTING_S = 1.0
CALMING = 10  # times STARTING_S, in which a compiler's helper processes start and come to rest
MORE_STEPS = 8
GROWTH, GROWTH_MS = 0.5, 0.1  # by which preparing and converting may grow with MORE_STEPS: relative, milliseconds


@undisturbed()
def conversions_ms(ring: Ring, repeats: int) -> tuple[float, float, float, float]:
    """Measure, in milliseconds: preparing and converting, the framework's own conversion, a whole and a timed call.

    Return the median of the framework's conversion and of the timed call, and the minimum of the other two, which
    favours the implementation.
    """
    conversion: list[float] = []
    framework: list[float] = []
    whole: list[float] = []
    timed: list[float] = []
    clock = ring.work
    start = perf_counter()
    while len(timed) < repeats and (len(timed) < 2 or perf_counter() - start < PATIENCE_S):
        ring.move()
        batches = [ring.next() for _ in range(IN_A_ROW)]
        times = [clock()]
        prepared = [ring.baseline.prepare(batch) for batch in batches]
        times.append(clock())
        results = [ring.baseline.meta_gradient(each) for each in prepared]
        ring.baseline.synchronize()
        times.append(clock())
        result = ring.baseline.to_torch(results.pop())
        times.append(clock())
        preparing, calling, converting = (1e3 * (after - before) for before, after in pairwise(times))
        conversion.append(preparing / IN_A_ROW + converting)
        timed.append(calling / IN_A_ROW)
        framework.append(own_ms(ring.setup, batches[-1], result, clock))
        whole.append(ring.whole_call_s(clock) * 1e3)
    return min(conversion), median(framework), min(whole), median(timed)


def unhidden(examined: Examined) -> str:
    """Check that preparing and converting only convert, and that no other process works for the implementation."""
    ring = examined.ring
    begin, helpers = perf_counter(), descendants_s()
    for _ in range(TRIALS):
        if not (reason := excess(*conversions_ms(ring, REPEATS))):
            break
    if reason:
        return reason
    for _ in range(CALMING):
        share = (descendants_s() - helpers) / (perf_counter() - begin)
        if share <= HELPERS:
            return ""
        begin, helpers = perf_counter(), descendants_s()
        while perf_counter() - begin < STARTING_S:
            ring.whole_call_s()
    return HELPED.format(share)


def of_blocks(ring: Ring, blocks: Sequence[Block], threads: int) -> str:
    """Check timed blocks for work outside the timed call, in other processes, or on more processors than threads.

    Return the evidence in one clause; empty if there is none.
    """
    timed = median(block.work_ms for block in blocks)
    for _ in range(TRIALS):
        conversion, framework, whole, _ = conversions_ms(ring, REPEATS)
        if not (reason := excess(conversion, framework, whole, timed)):
            break
    if reason:
        return reason
    warming = median(block.warming_ms for block in blocks)
    if warming > WARMING * timed + allowed_ms(framework):
        return f"{OUTSIDE}: the first call of a row takes {warming:.2g} ms, the others {timed:.2g} ms"
    if (share := median(block.helpers for block in blocks)) > HELPERS:
        return HELPED.format(share)
    if (busy := median(block.cpu_per_wall for block in blocks)) > threads + HELPERS:
        return f"it keeps {busy:.1f} processors busy, where the case has {threads}"
    return ""


def excess(conversion: float, framework: float, whole: float, timed: float) -> str:
    """Judge from milliseconds whether work is done outside the timed call; return the evidence, empty if there is none.

    conversion: of preparing and converting; framework: of the framework's own conversion; whole, timed: of a call with
    and without both.
    """
    allowed = allowed_ms(framework)
    if conversion > allowed:
        return (
            f"{OUTSIDE}: preparing and converting take {conversion:.2g} ms, the call {timed:.2g} ms; allowed are "
            f"{allowed:.2g} ms, since the framework's own conversion takes {framework:.2g} ms"
        )
    if whole > HIDDEN * timed + allowed:
        return f"{OUTSIDE}: a call with a new batch takes {whole:.2g} ms, a timed one {timed:.2g} ms"
    return ""


def independent_of_steps(examined: Examined) -> str:
    """Check that preparing and converting do not take longer with more inner steps.

    Of an implementation that compiles only preparing is measured, since a call with more steps would compile anew.
    """
    steps = examined.setup.spec.inner.steps + MORE_STEPS
    try:
        larger = examined.larger(steps)
    except Unavailable:
        return ""
    measure_ms = _preparing_ms if larger.baseline.compiles else _conversion_ms
    few, many = measure_ms(examined.ring), measure_ms(Ring(larger, examined.ring.batches))
    if many > (1 + GROWTH) * few + GROWTH_MS:
        return (
            f"{OUTSIDE}: preparing and converting grow with the inner steps, from {few:.2g} ms to {many:.2g} ms "
            f"at {steps}"
        )
    return ""


def _conversion_ms(ring: Ring) -> float:
    return conversions_ms(ring, REPEATS)[0]


def _preparing_ms(ring: Ring) -> float:
    clock, times = ring.work, []
    for _ in range(REPEATS):
        ring.move()
        batch, start = ring.next(), clock()
        ring.baseline.prepare(batch)
        times.append((clock() - start) * 1e3)
    return min(times)
