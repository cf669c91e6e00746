"""Step times: blocks of calls with one synchronisation at their end."""

import math
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
    per_call = (time.perf_counter() - start) / calls
    repeats = math.ceil(BLOCK_S / per_call)
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize()
    wall = time.perf_counter() - start
    return wall / repeats * 1e3, (time.process_time() - cpu) / wall
