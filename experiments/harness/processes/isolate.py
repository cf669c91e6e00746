"""Worker processes: starting, talking to, waiting for and surely ending them."""

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
from typing import Any, NoReturn, TypeVar

from experiments.harness.measure.memory import family
from experiments.harness.records import Status
from experiments.harness.records.messages import (
    Answer,
    Describe,
    End,
    Implementation,
    Machine,
    ModelShape,
    Request,
    TryModel,
)
from experiments.harness.records.serial import decode, encode
from experiments.harness.status import ROOT, scrub

Told = TypeVar("Told", bound=Answer)
AnyWorker = TypeVar("AnyWorker", bound="Worker")
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
    """A worker did not answer: it died, or it ran out of time. `status` is the cell's.

    killed: by SIGKILL, which no worker brings upon itself.
    """

    def __init__(self, status: Status, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.status, self.killed = status, killed

    def end(self) -> End:
        """Return the end of its cell, as a worker that lived would have told it."""
        return End(self.status, str(self), killed=self.killed)


class Worker:
    """One process in a session of its own, with everything it starts.

    command: what is run, with the number of the socket's descriptor as the next argument, then `arguments`. It reads
        and writes messages there.
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

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(gently=kind is None)

    def send_bytes(self, message: bytes, timeout: float = float("inf")) -> None:
        """Give it work, to be answered within `timeout` seconds."""
        self.deadline = time.monotonic() + timeout
        with suppress(OSError):  # it died; `receive_bytes` tells how
            self.connection.send_bytes(message)

    def receive_bytes(self) -> bytes:
        """Wait for its answer; raises Lost where it dies first or the time is up."""
        try:
            if not self.connection.poll(max(0.0, min(self.deadline - time.monotonic(), FOREVER_S))):
                self.close(gently=False)
                raise Lost(Status.TIMEOUT, "it did not finish within the time limit")
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):  # also where it was lost before
            self.lose()
        self.deadline = float("inf")
        return answer

    def lose(self) -> NoReturn:
        """End it, and raise Lost with how it died."""
        self.close(gently=False)
        raise Lost(*self._death()) from None

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

    def _death(self) -> tuple[Status, str, bool]:
        if self.overrun:
            return Status.OOM, self.overrun, False
        code = self.process.returncode
        self.listener.join(DYING_S)
        lines = b"".join(self.said).decode(errors="replace").strip().splitlines()
        last = "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else ""
        said = f": {scrub(last)[:200]}" if lines else ""
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return Status.FAILED, f"the process was killed by {name}{hint}{said}", name == "SIGKILL"
        return Status.FAILED, f"the process ended with exit code {code}{said}", False


class MeasuringWorker(Worker):
    """One that measures cells: `python -m experiments.harness.processes.worker`, or the module in its place."""

    def __init__(self, threads: int, module: str) -> None:
        # -P: what lies in the user's current folder must not shadow the project or a library
        super().__init__(threads, [sys.executable, "-P", "-m", module], paths=[str(ROOT)])

    def send(self, message: Request, timeout: float = float("inf")) -> None:
        """Give it work, to be answered within `timeout` seconds."""
        self.send_bytes(encode(message), timeout)

    def receive(self) -> Answer:
        """Wait for its answer; raises Lost where it dies first or the time is up."""
        try:
            answer = decode(self.receive_bytes())
        except (AttributeError, TypeError, ValueError):  # no message of ours
            self.lose()
        if not isinstance(answer, Answer):
            self.lose()
        return answer


_alive: set[Worker] = set()


def alive() -> list[Worker]:
    """Return the workers that have not been closed."""
    return list(_alive)


def end(workers: Sequence[Worker], patience_s: float = DYING_S) -> None:
    """End workers and everything they started; all together may take that long to finish on their own."""
    with started_by(workers) as descendants:
        for worker in workers:
            _alive.discard(worker)
            worker.connection.close()
        deadline = time.monotonic() + patience_s
        for worker in workers:
            with suppress(subprocess.TimeoutExpired):  # even a lost one may be about to tell its exit code
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            worker._kill()
        for descriptor in descendants:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for worker in workers:
            worker.process.wait()


@contextmanager
def started_by(workers: Iterable[Worker]) -> Iterator[list[int]]:
    """Hold on to what workers started, also where it left their session; descriptors of processes (Linux)."""
    descriptors = []
    for pid in (pid for worker in workers for pid in family(worker.process.pid)[1:]):
        with suppress(OSError):  # it has ended
            descriptors.append(os.pidfd_open(pid))
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def measuring(threads: int, module: str = WORKER) -> MeasuringWorker:
    """Start a process that measures cells."""
    return MeasuringWorker(threads, module)


def answered(workers: Iterable[AnyWorker]) -> list[AnyWorker]:
    """Wait until a worker has answered, died or run out of time; return all that have."""
    by_connection = {worker.connection: worker for worker in workers}
    patience = min((worker.deadline for worker in by_connection.values()), default=0.0) - time.monotonic()
    ready = wait(list(by_connection), min(max(patience, 0.0), FOREVER_S))
    now = time.monotonic()
    return [c for connection, c in by_connection.items() if connection in ready or c.deadline <= now]


def describe(device: str, files: dict[str, str]) -> Machine:
    """Ask a worker about the environment and the implementations in `files` (name → file)."""
    try:
        return _ask(Describe(device, files), Machine)
    except Lost:  # an import took the process with it: find out whose
        whole = _ask(Describe(device, {}), Machine)
        for name, file in files.items():
            try:
                known = _ask(Describe(device, {name: file}), Machine).implementations[name]
            except Lost as lost:
                known = Implementation(problem=f"at import, {lost}", lacking=f"at import, {lost}")
            whole.implementations[name] = known
        return whole


def shape_of(file: Path, factory: str, points: int) -> ModelShape:
    """Ask a worker for the `shape` that a user's network gives for (points, 1), or the `problem` with it."""
    try:
        return _ask(TryModel(str(file), factory, points), ModelShape)
    except Lost as lost:
        return ModelShape(problem=str(lost))


def _ask(message: Request, kind: type[Told]) -> Told:
    worker = measuring(threads=1)
    with worker:
        worker.send(message, timeout=300)
        answer = worker.receive()
        assert isinstance(answer, kind)
        return answer
