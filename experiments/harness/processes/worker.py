"""A measuring process: receives cells to measure, one after the other, and answers.

`python -m experiments.harness.processes.worker FD`: messages go over the socket FD, so that whatever a library prints
cannot disturb them. The parent sends `Open` with a cell, then `Turn` as often as the measuring yields; between turns
the process does nothing. It ends when the parent closes the socket, or dies.
"""

from experiments.harness.processes import imports

imports.install()  # before anything is imported that a cell may depend on

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import baselines
from baselines.contract import Baseline
from experiments.harness import experiment
from experiments.harness.factory import from_file
from experiments.harness.measure import environment, processors
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.setup import draws_random_numbers
from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.packages import explain_hidden
from experiments.harness.records import Environment, Result, Status
from experiments.harness.records.cells import check_result
from experiments.harness.records.messages import (
    Answer,
    Describe,
    End,
    Implementation,
    Machine,
    ModelShape,
    Open,
    Opened,
    Pin,
    Pinned,
    Progress,
    TryModel,
    Turn,
)
from experiments.harness.records.serial import decode, encode
from experiments.harness.status import Lacking, Stopped, classify, scrub
from experiments.problems.tasks import forget

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(descriptor: int, share: Callable[[Open], Share] = lambda opening: WHOLE) -> None:
    """Serve the parent until it goes away.

    share: returns what this process does of a cell, given the message that opens it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what it started stays its own, whoever started that
    connection = Connection(descriptor)
    session: Session | None = None
    while True:
        try:
            message = decode(connection.recv_bytes())
        except EOFError:
            os._exit(0)  # everything is told; taking a framework down in order costs half a second
        answer: Answer
        match message:
            case Describe():
                answer = describe(message.device, message.files)
            case TryModel():
                answer = shape_of(Path(message.file), message.factory, message.points)
            case Open():
                session = Session(message, share)
                answer = Opened()
            case Pin():
                processors.pin(list(message.cores))
                answer = Pinned()
            case Turn():
                assert session is not None
                answer = session.turn()
            case _:
                raise ValueError(f"{type(message).__name__} is not for a measuring process")
        connection.send_bytes(encode(answer))


def caches(folder: str) -> dict[str, str]:
    """Return the settings with which compilers keep what they compile in a folder, for other processes to find."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class Session:
    """The measuring of one cell by one measurement."""

    def __init__(self, opening: Open, share: Callable[[Open], Share]) -> None:
        forget()
        imports.begin()
        self.opening, self.share = opening, share
        self.bench: Bench | None = None
        self.work: Generator[float, None, Result] | None = None

    def turn(self) -> Progress | End:
        """Work until the next yield, or to the end."""
        try:
            if self.work is None:
                self.work = self._start()
            return Progress(float(next(self.work)))
        except StopIteration as end:
            return self._checked(end.value)
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> End:
        """End as an error says, with what may still be shown of the cell, if it can be stored."""
        status, reason = classify(error)
        kept = Result(error.row, error.rows) if isinstance(error, Stopped) else Result()
        try:
            check_result(kept)
        except ValueError as unfit:
            kept, reason = Result(), f"{reason}; its row cannot be stored: {scrub(str(unfit))[:300]}"
        return self._end(status, reason, kept, lacking=reason if isinstance(error, Lacking) else "")

    def _checked(self, result: Result) -> End:
        """End well with a result that can be stored; with any other fail, and say what is wrong with it."""
        try:
            check_result(result)
        except ValueError as error:
            return self._end(Status.FAILED, f"what was measured cannot be stored: {scrub(str(error))[:300]}", Result())
        return self._end(Status.OK, "", result)

    def _start(self) -> Generator[float, None, Result]:
        opening = self.opening
        environment.settle(opening.case.threads)
        wanted = experiment.load(opening.case.experiment)
        if opening.cache:
            os.environ |= caches(opening.cache)
        self.bench = Bench(
            opening.case,
            opening.implementation,
            _path(opening.file),
            _path(opening.model_file),
            opening.repeat,
            oracle_results=_path(opening.oracle_results),
            checkpoint=_path(opening.checkpoint),
            share=self.share(opening),
        )
        (chosen,) = (p for p in wanted.measurements if p.name == opening.measurement)
        return chosen.measure(self.bench)

    def _end(self, status: Status, reason: str, result: Result, lacking: str = "") -> End:
        bench = self.bench
        return End(
            status=status,
            reason=reason,
            result=replace(result, note=scrub(result.note)),
            stream_digest=bench.stream_digest if bench else "",
            init_digest=bench.init_digest if bench else "",
            sources=imports.sources(),
            lacking=lacking,
        )


def describe(device: str, files: dict[str, str]) -> Machine:
    """Describe the environment, the device that `device` stands for, and what each implementation's file holds.

    Asked of a child, so that the parent never holds any of the accelerator's memory.
    """
    cuda = torch.cuda.is_available()
    resolved = ("cuda" if cuda else "cpu") if device == "auto" else device
    usable = resolved != "cuda" or cuda
    return Machine(
        device=resolved,
        cuda=cuda,
        implementations={name: _known(Path(file), torch.device(resolved)) for name, file in files.items()},
        environment=environment.environment(resolved) if usable else Environment(),
        gpu_memory_gib=round(torch.cuda.mem_get_info()[0] / 2**30, 1) if resolved == "cuda" and cuda else None,
    )


def _known(file: Path, device: torch.device) -> Implementation:
    """Return what the implementation in a file says of itself, or why it cannot be imported."""
    imports.begin()
    try:
        found = load(file)
        return Implementation(
            computes=found.computes,
            library=found.library or "",
            version=environment.installed(found.library),
            compiles=found.compiles,
            lacking=found.lacking(device) or "",
            helpers=helpers(),
        )
    except Exception as error:
        problem = classify(error)[1] + explain_hidden(error, file)
        return Implementation(problem=problem, lacking=problem, helpers=helpers())


def shape_of(file: Path, factory: str, points: int) -> ModelShape:
    """Return the shape that a user's network gives for (points, 1), or what is wrong with it."""
    try:
        made = from_file(file, factory)()
        if not isinstance(made, torch.nn.Module):
            return ModelShape(f"{factory}() returned {type(made).__name__}, not a torch.nn.Module")
        x = torch.zeros(points, 1)
        if draws_random_numbers(made, x):
            why = "draws random numbers, as dropout does, so that no two calls can be compared"
            return ModelShape(f"the forward of what {factory}() returned {why}; allowed is what does not")
        return ModelShape(shape=tuple(made(x).shape), helpers=helpers())
    except Exception as error:
        return ModelShape(classify(error)[1] + explain_hidden(error, file))


def load(file: Path) -> type[Baseline]:
    """Load the implementation in a file, and note all that importing it takes."""
    if not file.is_relative_to(baselines.HERE):
        imports.execute(f"external_{file.stem}", file)
    return baselines.load(file)


def helpers() -> tuple[str, ...]:
    """Return the modules of the user's that this process has imported, as cells call them."""
    return tuple(name for name in imports.sources() if name.startswith(imports.USERS))


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


if __name__ == "__main__":
    main(int(sys.argv[1]))
