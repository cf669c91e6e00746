"""A limit to the memory that all measuring processes hold together, so that none takes the machine down with it.

The system's own way out, killing whoever holds the most, could hit the run itself, and tells no reason.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.harness.measure.memory import family, resident_set
from experiments.harness.processes.isolate import alive

INTERVAL_S = 0.2
SHARE = 0.9  # of the memory that there is
GIB = 2.0**30
CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@contextmanager
def guard(limit: float | None) -> Iterator[None]:
    """End the largest worker whenever all together hold more than `limit` bytes; None: nine tenths of what there is.

    Its cell is `oom`. Does nothing where the system does not tell what a process holds.
    """
    limit = limit or SHARE * installed()
    if resident_set() is None:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(limit, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def installed() -> float:
    """Return the bytes of memory of the machine, or of a container that has fewer; infinite where nothing tells."""
    found = [float("inf")]
    for name in CONTAINERS:
        text = Path(name).read_text().strip() if Path(name).exists() else ""
        found += [float(text)] if text.isdigit() else []
    if Path("/proc/meminfo").exists():
        found.append(1024 * float(Path("/proc/meminfo").read_text().split()[1]))
    return min(found)


def _watch(limit: float, done: threading.Event) -> None:
    while not done.wait(INTERVAL_S):
        held = {worker: resident(worker.process.pid) for worker in alive()}
        if sum(held.values()) > limit:
            largest = max(held, key=lambda worker: held[worker])
            most, all_ = held[largest] / GIB, sum(held.values()) / GIB
            together = f", {all_:.1f} GiB with the processes beside it" if len(held) > 1 else ""
            largest.out_of_memory(f"it held {most:.1f} GiB{together}: more than the {limit / GIB:.1f} GiB allowed")


def resident(pid: int) -> int:
    """Return the resident bytes of a process and of all that it started; 0 where it is gone."""
    return sum(1024 * own["VmRSS"] for member in family(pid) if (own := resident_set(member)))
