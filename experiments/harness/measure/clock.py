"""Step times: blocks of calls with one synchronisation at their end.

The clocks are bound here, before any implementation is loaded, so that none can put others in their place.
"""

from collections.abc import Callable
from time import perf_counter, process_time

from baselines.contract import undisturbed

SETTLE_S = 0.010
BLOCK_S = 0.050
Clock = Callable[[], float]
__all__ = ["BLOCK_S", "SETTLE_S", "Clock", "block", "perf_counter", "process_time"]


@undisturbed()
def block(call: Callable[[], object], synchronize: Callable[[], None]) -> float:
    """Return the mean milliseconds of a call that is repeated for at least 50 ms.

    For what nobody gains from doing by halves; implementations are timed by `ring`. At least 10 ms of calls come before
    it and are discarded, so that caches are this call's own again.
    """
    calls, start = 0, perf_counter()
    while perf_counter() - start < SETTLE_S or not calls:
        call()
        calls += 1
        synchronize()
    chunk = max(1, round(BLOCK_S * calls / (perf_counter() - start)))
    calls, wall, start = 0, 0.0, perf_counter()
    while wall < BLOCK_S:  # once, unless the discarded calls were slower than these
        for _ in range(chunk):
            call()
        synchronize()
        calls += chunk
        wall = perf_counter() - start
    return wall / calls * 1e3
