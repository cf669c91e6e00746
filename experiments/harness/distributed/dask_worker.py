"""What runs on a worker: it says what it is, and measures a case as a run on its own machine would.

A case is measured in a thread of the worker by child processes, which the
system ends with that thread, hence with the worker however it ends.
"""

import asyncio
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import get_worker

import baselines
from experiments.harness import experiment
from experiments.harness.distributed.claim import claimed
from experiments.harness.executor import described
from experiments.harness.measure.processors import cores
from experiments.harness.processes.limits import guard
from experiments.harness.processes.schedule import side_by_side
from experiments.harness.records import Options
from experiments.harness.records.messages import Delivery, Machine, Order, Survey
from experiments.harness.records.serial import digest
from experiments.harness.run import Plan
from experiments.harness.sources import Sources


class Refused(ValueError):
    """This worker cannot measure for this client; the message says why."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""


def project() -> str:
    """Return a digest of the project's source files as they are now."""
    return digest(Sources({}).all)


LOADED = project()
"""As they were when this process imported them."""


async def survey() -> Survey:
    """Return the digest of the sources that are at work here, and the number of processors."""
    return Survey(LOADED if project() == LOADED else "", len(cores()))


async def describe(device: str, names: list[str]) -> Machine:
    """Return what `described` says here; in a thread, so that the worker stays reachable."""
    return await asyncio.to_thread(_describe, device, tuple(names))


def measure(order: Order) -> Delivery:
    """Measure a case; return its cells and the environment of this machine. Raises Refused."""
    if not order.project == LOADED == project():
        raise Refused("a worker has other sources of the project than this checkout: update it, and start it again")
    machine = _describe(order.device, order.implementations)
    if order.device == "cuda" and not machine.cuda:
        raise Refused("--device cuda: PyTorch finds no CUDA device on a worker")
    wanted = experiment.load(order.case.experiment)
    options = Options(order.profile, order.device, None, order.case.threads, None)
    sharing = 1 if wanted.timed else get_worker().state.nthreads
    folders = TemporaryDirectory(dir=get_worker().local_directory)  # Dask clears it away after a worker that was killed
    with folders as folder, claimed(wanted.timed, order.device, _go_on), guard(order.memory):
        plan = Plan(
            [order.case.experiment],
            _files(order.implementations),
            {},
            options,
            machine,
            Path(folder),
            timeout=order.timeout,
            memory=order.memory,
        )
        work = partial(side_by_side, sharing=sharing)
        plan.measure(wanted, [(order.case, list(order.missing))], lambda done: _go_on(), work)
        cells = plan.store.all(order.case).values()
    return Delivery(machine.environment, [replace(cell, machine=_machine()) for cell in cells])


def _machine() -> str:
    """Return what tells this machine from others of its kind and no more: a digest of what Linux drew at its start."""
    drawn = Path("/proc/sys/kernel/random/boot_id")
    return digest(drawn.read_text(), 8) if drawn.exists() else ""


@cache
def _describe(device: str, names: tuple[str, ...]) -> Machine:
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
