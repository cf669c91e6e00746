"""A measuring process: receives cells to measure, one after the other, and answers in JSON.

`python -m experiments.harness.processes.worker FD`: messages go over the socket FD, so that whatever a library prints
cannot disturb them. The parent says `open` with a cell, then `turn` as often as the measuring yields; between turns the
process does nothing. It ends when the parent closes the socket, or dies.
"""

from experiments.harness.processes import imports

imports.install()  # before anything is imported that a cell may depend on

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Generator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

import baselines
from baselines.contract import Baseline
from experiments.harness import experiment
from experiments.harness.case import Case, Json
from experiments.harness.experiment import Result
from experiments.harness.factory import from_file
from experiments.harness.measure import environment, processors
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.setup import draws_random_numbers
from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.packages import explain_hidden
from experiments.harness.status import Lacking, Stopped, classify, scrub
from experiments.problems.tasks import forget

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(descriptor: int, share: Callable[[dict[str, Json]], Share] = lambda opening: WHOLE) -> None:
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
            message = json.loads(connection.recv_bytes())
        except EOFError:
            os._exit(0)  # everything is told; taking a framework down in order costs half a second
        if message["op"] == "describe":
            answer = describe(message["device"], message["files"])
        elif message["op"] == "model":
            answer = shape_of(Path(message["file"]), message["factory"], message["points"])
        elif message["op"] == "open":
            session = Session(message, share)
            answer = {"event": "open"}
        elif message["op"] == "pin":
            processors.pin(message["cores"])
            answer = {"event": "pinned"}
        else:
            assert session is not None
            answer = session.turn()
        connection.send_bytes(json.dumps(answer).encode())


def caches(folder: str) -> dict[str, str]:
    """The settings with which compilers keep all that they compile in a folder, for other processes to find."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class Session:
    """The measuring of one cell by one pass."""

    def __init__(self, message: dict[str, Any], share: Callable[[dict[str, Json]], Share]) -> None:
        forget()
        imports.begin()
        self.message, self.share = message, share
        self.bench: Bench | None = None
        self.work: Generator[float, None, Result] | None = None

    def turn(self) -> dict[str, Json]:
        """Work until the next yield: `{"event": "yield", "done"}` or, at the end, `{"event": "end", …}`."""
        try:
            if self.work is None:
                self.work = self._start()
            return {"event": "yield", "done": next(self.work)}
        except StopIteration as end:
            return self._end("ok", "", asdict(end.value))
        except Exception as error:
            kept = Result(error.row, error.rows) if isinstance(error, Stopped) else Result()
            status, reason = classify(error)
            return self._end(status, reason, asdict(kept)) | {"lacking": reason if isinstance(error, Lacking) else ""}

    def _start(self) -> Generator[float, None, Result]:
        m = self.message
        case = Case(**m["case"])
        environment.settle(case.threads)
        wanted = experiment.load(case.experiment)
        if m["cache"]:
            os.environ |= caches(m["cache"])
        self.bench = Bench(
            case,
            m["subject"],
            _path(m["file"]),
            _path(m["model_file"]),
            m["repeat"],
            oracle_results=_path(m["oracle_results"]),
            checkpoint=_path(m["checkpoint"]),
            share=self.share(m),
        )
        (chosen,) = (p for p in wanted.passes if p.name == m["pass"])
        return chosen.measure(self.bench)

    def _end(self, status: str, reason: str, result: dict[str, Json]) -> dict[str, Json]:
        bench = self.bench
        return {
            "event": "end",
            "status": status,
            "reason": reason,
            "stream_digest": bench.stream_digest if bench else "",
            "init_digest": bench.init_digest if bench else "",
            "sources": imports.sources(),
            **result,
            "note": scrub(result["note"]),
        }


def describe(device: str, files: dict[str, str]) -> dict[str, Json]:
    """The environment, the device that `device` stands for, and what each implementation's file holds.

    Asked of a child, so that the parent never holds any of the accelerator's memory.
    """
    cuda = torch.cuda.is_available()
    resolved = ("cuda" if cuda else "cpu") if device == "auto" else device
    found: dict[str, Json] = {}
    for name, file in files.items():
        found[name] = {"computes": "", "library": "", "compiles": False, "problem": "", "lacking": ""}
        imports.begin()
        try:
            implementation = load(Path(file))
            found[name]["lacking"] = implementation.lacking(torch.device(resolved)) or ""
            found[name] |= {"computes": implementation.computes, "library": implementation.library or ""}
            found[name]["compiles"] = implementation.compiles
        except Exception as error:
            problem = classify(error)[1] + explain_hidden(error, Path(file))
            found[name] |= dict.fromkeys(("problem", "lacking"), problem)
        found[name]["version"] = environment.installed(found[name]["library"])
        found[name]["helpers"] = helpers()
    usable = resolved != "cuda" or cuda
    return {
        "event": "description",
        "device": resolved,
        "cuda": cuda,
        "implementations": found,
        "environment": environment.environment(resolved) if usable else {},
        "gpu_memory_gib": round(torch.cuda.mem_get_info()[0] / 2**30, 1) if resolved == "cuda" and cuda else None,
    }


def shape_of(file: Path, factory: str, points: int) -> dict[str, Json]:
    """The shape that a user's module gives for (points, 1), or what is wrong with it."""
    try:
        made = from_file(file, factory)()
        if not isinstance(made, torch.nn.Module):
            return {"problem": f"{factory}() returned {type(made).__name__}, not a torch.nn.Module"}
        x = torch.zeros(points, 1)
        if draws_random_numbers(made, x):
            why = "draws random numbers, as dropout does, so that no two calls can be compared"
            return {"problem": f"the forward of what {factory}() returned {why}; allowed is what does not"}
        return {"problem": "", "shape": list(made(x).shape), "helpers": helpers()}
    except Exception as error:
        return {"problem": classify(error)[1] + explain_hidden(error, file)}


def load(file: Path) -> type[Baseline]:
    """The implementation in a file, of which all is noted that importing it takes."""
    if not file.is_relative_to(baselines.HERE):
        imports.execute(f"external_{file.stem}", file)
    return baselines.load(file)


def helpers() -> list[str]:
    """The modules of the user's that this process has imported, as cells call them."""
    return [name for name in imports.sources() if name.startswith(imports.USERS)]


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


if __name__ == "__main__":
    main(int(sys.argv[1]))
