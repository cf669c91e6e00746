"""Who measures the cells of a run: processes on this machine, or whoever else stands behind this interface."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from experiments.harness import experiment
from experiments.harness.experiment import Experiment
from experiments.harness.processes import isolate
from experiments.harness.processes.limits import GIB, SHARE, installed
from experiments.harness.processes.schedule import Advance, Job, side_by_side
from experiments.harness.records import Case, Environment, Options, StoredCell
from experiments.harness.records.messages import Machine
from experiments.harness.refusals import BadRequest

Todo = list[tuple[Case, list[str]]]
"""Cases, each with the implementations that are to be measured."""
Work = Callable[[list[Job], int, Advance], Iterator[Job]]
"""Measures jobs of which only results count, with so many threads for each process; yields each when it has ended."""


class Plan(Protocol):
    """What an executor asks of the plan that it measures for, which is a `harness.run.Plan`."""

    files: dict[str, Path]
    options: Options
    timeout: float
    memory: float | None

    def measure(self, wanted: Experiment, todo: Todo, advance: Advance, work: Work = side_by_side) -> None:
        """Measure by worker processes of this one."""

    def add(self, wanted: Experiment, case: Case, cells: list[StoredCell], environment: Environment) -> None:
        """Store cells that were measured elsewhere."""

    def add_failed(self, wanted: Experiment, case: Case, missing: list[str], reason: str) -> None:
        """Store that a case could not be measured."""


class Executor(Protocol):
    """What a plan has to know of it."""

    @property
    def name(self) -> str:
        """Return what to call the machine that has the fewest processors."""

    @property
    def cores(self) -> int:
        """Return how many processors that machine has."""

    def check(self, experiments: Iterable[str]) -> None:
        """Raise BadRequest for an experiment that cannot be measured so."""

    def adapt(self, case: Case) -> Case:
        """Return a case as it is measured here, under a name of its own where that makes it another one."""

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[Machine]:
        """Return what `described` does on each machine, equal ones once; `timed`: whether they are to time."""

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure cases of one experiment, and `plan.add` their cells as they are finished."""


class Here:
    """This machine alone, and what others have in common with it."""

    name = "this machine"
    cores = os.cpu_count() or 1

    def check(self, experiments: Iterable[str]) -> None:
        """Refuse what is about sharding a meta-batch and nothing else: one process has all of it."""
        for name in experiments:
            if experiment.load(name).ranks == "several":
                command = f"torchrun --nproc-per-node 2 -m experiments run {name}"
                raise BadRequest(f"{name} takes two ranks or more: {command}")

    def adapt(self, case: Case) -> Case:
        """Leave it as it is."""
        return case

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[Machine]:
        """Ask a worker."""
        return [described(device, files)]

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure by workers of this process."""
        plan.measure(wanted, todo, advance)


def described(device: str, files: dict[str, str]) -> Machine:
    """Return what `isolate.describe` does here, and the GiB of memory that processes may hold by default."""
    memory = installed()
    known = round(SHARE * memory / GIB, 1) if memory < float("inf") else None
    return replace(isolate.describe(device, files), memory_gib=known)
