"""Is all of an implementation's work in the timed call? What is done before, after or beside it shows no time."""

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
TRIALS = 3
PATIENCE_S = 5.0
"""After so long two repeats are enough: what takes long is no matter of noise."""
IN_A_ROW = 3
HIDDEN = 1.5
"""By how much of itself a whole call may be longer than a timed one, beside what preparing and converting may take."""
HELPERS = 0.1
"""The share of the time that processes which an implementation started may be at work, such as for housekeeping."""
HELPED = "processes that it started work for it, {:.0%} of the time"
WARMING = 3.0
"""How many times as long as others the first call of a row may be, which finds other things in the caches."""
STARTING_S = 1.0
CALMING = 10  # times that, in which a compiler's helpers have started and come to rest
MORE_STEPS = 8
GROWTH, GROWTH_MS = 0.5, 0.1


@undisturbed()
def conversions_ms(ring: Ring, repeats: int) -> tuple[float, float, float, float]:
    """Return the milliseconds of preparing and converting, of the framework's own conversion, a whole and a timed call.

    Of the framework's own and the timed call the median, of the others the least, which is for the implementation's
    good.
    """
    beside: list[float] = []
    own: list[float] = []
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
        beside.append(preparing / IN_A_ROW + converting)
        timed.append(calling / IN_A_ROW)
        own.append(own_ms(ring.setup, batches[-1], result, clock))
        whole.append(ring.whole_call_s(clock) * 1e3)
    return min(beside), median(own), min(whole), median(timed)


def unhidden(examined: Examined) -> str:
    """Preparing and converting are no more than conversions, and nothing is done beside the timed call."""
    ring = examined.ring
    begin, helpers = perf_counter(), descendants_s()
    for _ in range(TRIALS):  # what an implementation does, it does again
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
    """Return what shows in timed blocks that work is done outside the timed call, or on processors beside it."""
    timed = median(block.work_ms for block in blocks)
    for _ in range(TRIALS):
        beside, own, whole, _ = conversions_ms(ring, REPEATS)
        if not (reason := excess(beside, own, whole, timed)):
            break
    if reason:
        return reason
    warming = median(block.warming_ms for block in blocks)
    if warming > WARMING * timed + allowed_ms(own):
        return f"{OUTSIDE}: the first call of a row takes {warming:.2g} ms, the others {timed:.2g} ms"
    if (share := median(block.helpers for block in blocks)) > HELPERS:
        return HELPED.format(share)
    if (busy := median(block.cpu_per_wall for block in blocks)) > threads + HELPERS:
        return f"it keeps {busy:.1f} processors busy, where the case has {threads}"
    return ""


def excess(beside: float, own: float, whole: float, timed: float) -> str:
    """Return what shows that work is done outside the timed call, from milliseconds; empty if nothing does.

    beside: of preparing and converting; own: of the framework's own conversion; whole, timed: of a call with and
    without both.
    """
    allowed = allowed_ms(own)
    if beside > allowed:
        return (
            f"{OUTSIDE}: preparing and converting take {beside:.2g} ms, the call {timed:.2g} ms; allowed are "
            f"{allowed:.2g} ms, since the framework's own conversion takes {own:.2g} ms"
        )
    if whole > HIDDEN * timed + allowed:
        return f"{OUTSIDE}: a call with a new batch takes {whole:.2g} ms, a timed one {timed:.2g} ms"
    return ""


def independent_of_steps(examined: Examined) -> str:
    """Preparing does not take longer with more inner steps, and converting does not.

    Of what compiles only preparing is looked at: a result with more steps would have to be compiled for.
    """
    steps = examined.setup.spec.inner.steps + MORE_STEPS
    try:
        larger = examined.larger(steps)
    except Unavailable:
        return ""
    beside = _preparing_ms if larger.baseline.compiles else _beside_ms
    few, many = beside(examined.ring), beside(Ring(larger, examined.ring.batches))
    if many > (1 + GROWTH) * few + GROWTH_MS:
        return (
            f"{OUTSIDE}: preparing and converting grow with the inner steps, from {few:.2g} ms to {many:.2g} ms "
            f"at {steps}"
        )
    return ""


def _beside_ms(ring: Ring) -> float:
    return conversions_ms(ring, REPEATS)[0]


def _preparing_ms(ring: Ring) -> float:
    clock, times = ring.work, []
    for _ in range(REPEATS):
        ring.move()
        batch, start = ring.next(), clock()
        ring.baseline.prepare(batch)
        times.append((clock() - start) * 1e3)
    return min(times)
