"""Processors and their time, of this process and of everything that it started.

Time is to the nanosecond where the system tells it of other processes (Linux).
"""

import ctypes
import os
import resource
import time
from contextlib import suppress
from pathlib import Path

from experiments.harness.measure.memory import family

_LIBC = ctypes.CDLL(None)


def cores() -> list[int]:
    """Return the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def pin(processors: list[int]) -> None:
    """Bind every thread of this process, and of all that it started, to `processors`; nothing where unsupported.

    By affinity, since not every framework honours a setting for its number of threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    for process in family(os.getpid()):
        for thread in Path(f"/proc/{process}/task").glob("*"):
            with suppress(OSError):  # it ended meanwhile
                os.sched_setaffinity(int(thread.name), processors)


def process_s(pid: int) -> float:
    """Return the seconds of processor time that all threads of a process have had; 0 where it is gone.

    Source: clock_getcpuclockid(3).
    """
    clock = ctypes.c_int()
    if not hasattr(_LIBC, "clock_getcpuclockid") or _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    with suppress(OSError):
        return time.clock_gettime(clock.value)
    return 0.0


def descendants_s() -> float:
    """Return the seconds of processor time of all processes that this one, or one of them, started."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(map(process_s, family(os.getpid())[1:]))
