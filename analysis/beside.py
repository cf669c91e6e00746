"""Work in processes beside this one: forked, so that they see its data as they are, and nothing is read again."""

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


class Beside(Generic[T]):
    """Calls that run beside this process; where it cannot fork safely, or has one core only, they run at once."""

    def __init__(self) -> None:
        # JAX has threads, which may hold a lock that is never released in a fork; no command that renders imports it
        self.forks = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and "jax" not in sys.modules
        self.done: list[T] = []
        self.running: list[tuple[ForkProcess, Connection]] = []

    def start(self, work: Callable[[], T]) -> None:
        """Begin; what it returns has to be picklable."""
        if not self.forks:
            self.done.append(work())
            return
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_tell, args=(work, sender), daemon=True)
        process.start()
        sender.close()
        self.running.append((process, receiver))

    def results(self) -> list[T]:
        """Wait for all of them: what they returned, in their order. Raises what the first that failed has raised."""
        for process, receiver in self.running:
            try:
                value, error = receiver.recv()
            except EOFError:
                process.join()
                raise RuntimeError(f"a process ended before its work, with exit code {process.exitcode}") from None
            process.join()
            if error is not None:
                raise error
            self.done.append(value)
        self.running.clear()
        return self.done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End what still runs."""
        for process, receiver in self.running:
            process.kill()
            process.join()
            receiver.close()


def _tell(work: Callable[[], T], sender: Connection) -> None:
    try:
        sender.send((work(), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        sender.send((None, error))
    except KeyboardInterrupt:  # of a terminal, which the process that waits gets as well
        pass
