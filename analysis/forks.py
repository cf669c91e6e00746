"""Run independent calls in forked processes, which share this process' data and need not read it again."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class ForkedCalls(Generic[T]):
    """Calls that each run in a forked process; where forking is unsafe, or there is one core only, they run at once.

    `can_fork` says which of the two.
    """

    def __init__(self) -> None:
        # JAX has threads, which may hold a lock that is never released in a fork; no command that renders imports it
        self.can_fork = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and "jax" not in sys.modules
        self.values: list[T] = []
        self.running: list[tuple[ForkProcess, Connection]] = []

    def start(self, call: Callable[[], T]) -> None:
        """Start a call, whose return value must be picklable."""
        if not self.can_fork:
            self.values.append(call())
            return
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_send_value, args=(call, sender), daemon=True)
        process.start()
        sender.close()
        self.running.append((process, receiver))

    def results(self) -> list[T]:
        """Wait for all calls and return their values, in the order in which they were started.

        Raises the exception of the first call that failed, and RuntimeError if a process was killed.
        """
        for process, receiver in self.running:
            try:
                value, error = receiver.recv()
            except EOFError:
                process.join()
                raise RuntimeError(
                    f"a process ended before its call returned, with exit code {process.exitcode}"
                ) from None
            process.join()
            if error is not None:
                raise error
            self.values.append(value)
        self.running.clear()
        return self.values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the processes that still run."""
        for process, receiver in self.running:
            process.kill()
            process.join()
            receiver.close()


def _send_value(call: Callable[[], T], sender: Connection) -> None:
    """Send what a call returns, or else the exception that it raised."""
    try:
        sender.send((call(), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        sender.send((None, error))
    except KeyboardInterrupt:  # Ctrl-C in a terminal reaches the waiting process too, which reports it
        pass
