"""What runs on a worker: it says what it is, and measures a case as a run on its own machine would.

Everything goes back and forth as JSON. A case is measured in a thread of the worker by child processes, which the
system ends with that thread, hence with the worker however it ends.
"""

import asyncio
import hashlib
import json
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import get_worker

import baselines
from experiments.harness import experiment
from experiments.harness.case import Case, Json, Options, digest, sha256
from experiments.harness.distributed.claim import claimed
from experiments.harness.executor import described
from experiments.harness.measure.processors import cores
from experiments.harness.processes.limits import guard
from experiments.harness.processes.schedule import side_by_side
from experiments.harness.run import Plan
from experiments.harness.sources import MEASURING
from experiments.harness.status import ROOT


class Refused(ValueError):
    """This worker cannot measure for this client; the message says why."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""


def project() -> str:
    """SHA-256 over the project's source files, as they are now."""
    files = sorted(path for part in MEASURING for path in (ROOT / part).rglob("*.py"))
    lines = [f"{path.relative_to(ROOT).as_posix()} {sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


LOADED = project()
"""As they were when this process imported them."""


async def survey() -> dict[str, Json]:
    """The sources that are at work here, empty where files have changed under them; the number of processors."""
    return {"project": LOADED if project() == LOADED else "", "cores": len(cores())}


async def describe(device: str, names: list[str]) -> dict[str, Json]:
    """What `described` says here; in a thread, so that the worker stays reachable."""
    return await asyncio.to_thread(_describe, device, tuple(names))


def measure(order: str) -> dict[str, Json]:
    """The finished cells of a case, and the environment that they were measured in.

    order: JSON of `project`, `case`, the subjects that are `missing`, the `names` of all implementations of the run,
    `device`, `profile`, `timeout` and `memory`.

    Raises Refused.
    """
    asked = json.loads(order)
    if not asked["project"] == LOADED == project():
        raise Refused("a worker has other sources of the project than this checkout: update it, and start it again")
    case, names = Case(**asked["case"]), tuple(asked["names"])
    description = _describe(asked["device"], names)
    if asked["device"] == "cuda" and not description["cuda"]:
        raise Refused("--device cuda: PyTorch finds no CUDA device on a worker")
    wanted = experiment.load(case.experiment)
    options = Options(asked["profile"], asked["device"], None, case.threads, None)
    sharing = 1 if wanted.timed else get_worker().state.nthreads
    folders = TemporaryDirectory(dir=get_worker().local_directory)  # Dask clears it away after a worker that was killed
    with folders as folder, claimed(wanted.timed, asked["device"], _go_on), guard(asked["memory"]):
        plan = Plan(
            [case.experiment],
            _files(names),
            {},
            options,
            description,
            Path(folder),
            timeout=asked["timeout"],
            memory=asked["memory"],
        )
        work = partial(side_by_side, sharing=sharing)
        plan.measure(wanted, [(case, asked["missing"])], lambda done: _go_on(), work)
        cells = [json.loads(path.read_text()) for path in sorted(plan.store.cells.glob("*/*/*.json"))]
    return {"environment": description["environment"], "cells": [cell | {"machine": _machine()} for cell in cells]}


def _machine() -> str:
    """Tells this machine from others of its kind, and says nothing else: a digest of what Linux drew at its start."""
    drawn = Path("/proc/sys/kernel/random/boot_id")
    return digest(drawn.read_text(), 8) if drawn.exists() else ""


@cache
def _describe(device: str, names: tuple[str, ...]) -> dict[str, Json]:
    return described(device, {name: str(path) for name, path in _files(names).items()})


def _files(names: tuple[str, ...]) -> dict[str, Path]:
    every = baselines.names() | baselines.misuses()
    return {name: every[name] for name in names}


def _go_on() -> None:
    """Raise Cancelled where the client was stopped or has gone: Dask itself cannot end what a thread does."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state == "cancelled":
        raise Cancelled
