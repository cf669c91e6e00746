"""Child processes: starting, talking to, waiting for and surely ending them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from experiments.harness.case import Json
from experiments.harness.measure.memory import family
from experiments.harness.status import ROOT, scrub

GRACE_S = 5.0
DYING_S = 0.2
FOREVER_S = 1e6  # what the system calls below accept
WORKER = "experiments.harness.processes.worker"
LAST_WORDS = 16  # pieces of output that are kept, of at most 4 KiB each
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
HEAP_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""mallopt(3), bytes: glibc's heap keeps what it has got. By default, whether a process gives memory back at the end of
a call and gets it again, page by page, depends on what happens to lie at the end of its heap: 0 to 1000 page faults and
up to a third of the time of one and the same call."""


class Lost(Exception):
    """A child did not answer: it died, or it ran out of time. `status` is the cell's.

    killed: by SIGKILL, which no child brings upon itself.
    """

    def __init__(self, status: str, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.status, self.killed = status, killed

    def end(self) -> dict[str, Json]:
        """Its end, as a child that lived would have told it."""
        return {"event": "end", "status": self.status, "reason": str(self), "killed": self.killed}


class Child:
    """One process in a session of its own, with everything it starts.

    command: what is run, with the number of the socket's descriptor as the next argument, then `arguments`. It reads
        and writes JSON there.
    """

    def __init__(
        self, threads: int, command: Sequence[str], arguments: Sequence[str] = (), paths: Sequence[str] = ()
    ) -> None:
        ours, theirs = Pipe()
        self.connection: Connection[Any, Any] = ours
        self.deadline = float("inf")
        searched = [*paths, *filter(None, [os.environ.get("PYTHONPATH")])]
        settings = dict.fromkeys(THREAD_SETTINGS, str(threads)) | HEAP_SETTINGS
        settings |= {"PYTHONPATH": os.pathsep.join(searched)}
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | settings,
                start_new_session=True,
            )
        self.overrun = ""
        _alive.add(self)
        self.said: deque[bytes] = deque(maxlen=LAST_WORDS)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(gently=kind is None)

    def send(self, message: dict[str, Json], timeout: float = float("inf")) -> None:
        """Give it work, to be answered within `timeout` seconds."""
        self.deadline = time.monotonic() + timeout
        with suppress(OSError):  # it died; `receive` tells how
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> dict[str, Json]:
        """Its answer; raises Lost where it dies first or the time is up."""
        try:
            if not self.connection.poll(max(0.0, min(self.deadline - time.monotonic(), FOREVER_S))):
                self.close(gently=False)
                raise Lost("timeout", "it did not finish within the time limit")
            answer: dict[str, Json] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError, ValueError):  # also where it was lost before
            self.close(gently=False)
            raise Lost(*self._death()) from None
        self.deadline = float("inf")
        return answer

    def close(self, gently: bool = True) -> None:
        """End it and everything it started; gently, it may first finish on its own."""
        end([self], GRACE_S if gently else DYING_S)

    def out_of_memory(self, reason: str) -> None:
        """End it because it holds too much; `receive` tells that."""
        self.overrun = reason
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # grandchildren too

    def _listen(self) -> None:
        """Take whatever it prints, however much, and keep the end of it."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            while piece := os.read(output.fileno(), 4096):
                self.said.append(piece)

    def _death(self) -> tuple[str, str, bool]:
        if self.overrun:
            return "oom", self.overrun, False
        code = self.process.returncode
        self.listener.join(DYING_S)
        lines = b"".join(self.said).decode(errors="replace").strip().splitlines()
        last = "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else ""
        said = f": {scrub(last)[:200]}" if lines else ""
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return "failed", f"the process was killed by {name}{hint}{said}", name == "SIGKILL"
        return "failed", f"the process ended with exit code {code}{said}", False


_alive: set[Child] = set()


def alive() -> list[Child]:
    """The children that have not been closed."""
    return list(_alive)


def end(children: Sequence[Child], patience_s: float = DYING_S) -> None:
    """End children and everything they started; all together may take that long to finish on their own."""
    with started_by(children) as descendants:
        for child in children:
            _alive.discard(child)
            child.connection.close()
        deadline = time.monotonic() + patience_s
        for child in children:
            with suppress(subprocess.TimeoutExpired):  # even a lost one may be about to tell its exit code
                child.process.wait(max(0.0, deadline - time.monotonic()))
            child._kill()
        for descriptor in descendants:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for child in children:
            child.process.wait()


@contextmanager
def started_by(children: Iterable[Child]) -> Iterator[list[int]]:
    """Hold on to what children started, also where it left their session; descriptors of processes (Linux)."""
    descriptors = []
    for pid in (pid for child in children for pid in family(child.process.pid)[1:]):
        with suppress(OSError):  # it has ended
            descriptors.append(os.pidfd_open(pid))
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def measuring(threads: int, module: str = WORKER) -> Child:
    """Start a process that measures cells."""
    # -P: what lies in the user's current folder must not shadow the project or a library
    return Child(threads, [sys.executable, "-P", "-m", module], paths=[str(ROOT)])


def answered(children: Iterable[Child]) -> list[Child]:
    """Those that have answered, died or run out of time; waits until there is one."""
    by_connection = {child.connection: child for child in children}
    patience = min((child.deadline for child in by_connection.values()), default=0.0) - time.monotonic()
    ready = wait(list(by_connection), min(max(patience, 0.0), FOREVER_S))
    now = time.monotonic()
    return [c for connection, c in by_connection.items() if connection in ready or c.deadline <= now]


def describe(device: str, files: dict[str, str]) -> dict[str, Json]:
    """What a child says of the environment and of the implementations in `files` (name → file)."""
    message = {"op": "describe", "device": device, "files": files}
    try:
        return _ask(message)
    except Lost:  # an import took the process with it: find out whose
        whole = _ask(message | {"files": {}})
        for name, file in files.items():
            try:
                alone = _ask(message | {"files": {name: file}})
                whole["implementations"] |= alone["implementations"]
            except Lost as lost:
                problem = {
                    "computes": "",
                    "library": "",
                    "version": "",
                    "compiles": False,
                    **dict.fromkeys(("problem", "lacking"), f"at import, {lost}"),
                    "helpers": [],
                }
                whole["implementations"][name] = problem
        return whole


def shape_of(file: Path, factory: str, points: int) -> dict[str, Json]:
    """The `shape` that a user's module gives for (points, 1), or the `problem` with it, in a child."""
    try:
        return _ask({"op": "model", "file": str(file), "factory": factory, "points": points})
    except Lost as lost:
        return {"problem": str(lost)}


def _ask(message: dict[str, Json]) -> dict[str, Json]:
    with measuring(threads=1) as child:
        child.send(message, timeout=300)
        return child.receive()
