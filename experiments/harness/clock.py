"""Step times: blocks of calls with one synchronisation at their end."""

import time
from collections.abc import Callable

SETTLE_S = 0.010
BLOCK_S = 0.050


def block(call: Callable[[], object], synchronize: Callable[[], None]) -> tuple[float, float]:
    """One sample: the mean milliseconds of a call over ≥ 50 ms, and CPU time over wall time in that block.

    At least 10 ms of calls come before it and are discarded, so that caches are this implementation's own again.
    """
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < SETTLE_S or not calls:
        call()
        calls += 1
        synchronize()
    chunk = max(1, round(BLOCK_S * calls / (time.perf_counter() - start)))
    calls, wall = 0, 0.0
    cpu, start = time.process_time(), time.perf_counter()
    while wall < BLOCK_S:  # once, unless the discarded calls were slower than these
        for _ in range(chunk):
            call()
        synchronize()
        calls += chunk
        wall = time.perf_counter() - start
    return wall / calls * 1e3, (time.process_time() - cpu) / wall
