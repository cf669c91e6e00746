"""Which case has this machine: one that is timed has it alone, others share it.

Workers claim it beside what the scheduler knows: two that were started on the same processors, or runs of two
schedulers, never time one case beside another.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from experiments.harness.measure.processors import cores

POLL_S = 0.2
UUID = "import torch; print(torch.cuda.get_device_properties(0).uuid)"


@contextmanager
def claimed(alone: bool, device: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold all processors that this process may use, and with `device` cuda its first GPU.

    `waiting` is called again and again until they are free; what it raises ends that. The system frees them where the
    process dies.
    """
    names = [f"core{number}" for number in cores()]
    if device == "cuda":
        names.append(f"gpu-{_gpu()}")
    with ExitStack() as held:
        for name in names:  # all in one order, so that nobody holds what another waits for and the reverse
            handle = _open(Path(tempfile.gettempdir()) / f"maml-bench-{name}.lock")
            held.callback(os.close, handle)
            while not _locked(handle, alone):
                waiting()
                time.sleep(POLL_S)
        yield


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:  # another user's, which the system lets nobody else create
        return os.open(file, os.O_RDONLY)


def _locked(handle: int, alone: bool) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@cache
def _gpu() -> str:
    """Return which GPU this is, as a process of its own tells: the worker must hold none of its memory."""
    said = subprocess.run([sys.executable, "-P", "-c", UUID], capture_output=True, text=True, check=True)
    return said.stdout.strip()
