"""Where a run is measured: by child processes on this machine, or by others, as Dask workers are."""

import os
from pathlib import Path
from typing import Protocol

from experiments.harness.case import Case, Json, Options
from experiments.harness.experiment import Experiment
from experiments.harness.processes import isolate
from experiments.harness.processes.limits import GIB, SHARE, installed
from experiments.harness.processes.schedule import Advance

Todo = list[tuple[Case, list[str]]]
"""Cases, each with the subjects that are to be measured."""


class Plan(Protocol):
    """What machines ask of the plan that they measure for, which is a `harness.run.Plan`."""

    files: dict[str, Path]
    options: Options
    timeout: float
    memory: float | None

    def measure(self, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure by child processes of this one."""

    def add(self, wanted: Experiment, case: Case, cells: list[dict[str, Json]], environment: dict[str, Json]) -> None:
        """Store cells that were measured elsewhere."""

    def add_failed(self, wanted: Experiment, case: Case, missing: list[str], reason: str) -> None:
        """Store that a case could not be measured."""


class Machines(Protocol):
    """What a plan has to know of them."""

    @property
    def said(self) -> str:
        """What to call one of them."""

    @property
    def cores(self) -> int:
        """Processors, of the machine that has the fewest."""

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[dict[str, Json]]:
        """What `described` says on each, those that say the same once; `timed`: whether they are to time."""

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """Measure cases of one experiment, and `plan.add` their cells as they are finished."""


def described(device: str, files: dict[str, str]) -> dict[str, Json]:
    """What `isolate.describe` says on this machine, and the GiB of memory that processes may hold by default."""
    memory = installed()
    known = round(SHARE * memory / GIB, 1) if memory < float("inf") else None
    return isolate.describe(device, files) | {"memory_gib": known}


class Here:
    """This machine."""

    said = "this machine"
    cores = os.cpu_count() or 1

    def describe(self, device: str, files: dict[str, str], timed: bool) -> list[dict[str, Json]]:
        """Asked of a child."""
        return [described(device, files)]

    def measure(self, plan: Plan, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        """By children."""
        plan.measure(wanted, todo, advance)
