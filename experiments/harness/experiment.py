"""What an experiment says of itself: its question, its cases, and how each is measured."""

import importlib
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.harness.records import Case, Options, Result

if TYPE_CHECKING:
    from experiments.harness.measure.bench import Bench

FOLDER = Path(__file__).parent.parent
PACKAGES = {"experiments": FOLDER, "experiments.checks": FOLDER / "checks"}
"""Where experiments lie."""
PROFILES = ("quick", "full")
Sharding = Literal["one", "any", "several"]


Measure = Callable[["Bench"], Generator[float, None, Result]]
"""Runs in the worker. Each `yield` ends a turn and tells the fraction of the work that is done."""


@dataclass(frozen=True)
class Measurement:
    """One way of measuring a cell, in processes of its own.

    processes: how many fresh processes repeat it, by profile; a process is itself a source of bias. A case whose
        parameters have `processes` is content with so many.
    compiled_only: only implementations that compile have it.
    timed: the implementations of a case take turns in random order, one at work at a time, on the same cores. The
        first turn of each is its preparation, which is not timed.
    """

    name: str
    measure: Measure
    timed: bool = False
    processes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PROFILES, 1))
    compiled_only: bool = False


@dataclass(frozen=True)
class Experiment:
    """One experiment, as its file declares it under the name EXPERIMENT.

    How it is shown stands in `analysis/pages/`, so that a new caption measures nothing anew.
    """

    cases: Callable[[Options], list[Case]]
    measurements: tuple[Measurement, ...]
    compared: tuple[str, ...] | None = None
    """What is compared, where it is not the implementations in `baselines/`."""
    misuses: bool = False
    """Whether the known misuses in `baselines/misuse/` take part, too."""
    for_compiled: Callable[[Case], bool] = lambda case: True
    """Whether implementations that compile take part in a case; compiling takes them seconds for each."""
    by_default: bool = True
    """Whether a run that names no experiment includes it."""
    ranks: Sharding = "one"
    """Over how many ranks it may shard its meta-batches. Where it may over several it has one measurement."""
    references: tuple[str, ...] = ()
    """The implementations that others are compared with: they are timed again beside those that are missing."""

    @property
    def timed(self) -> bool:
        """Whether its cells depend on turns taken together."""
        return any(p.timed for p in self.measurements)


def names() -> list[str]:
    """Return the name of every experiment, in alphabetical order; one is found by its file being there."""
    return sorted(_modules())


def file(name: str) -> str:
    """Return the file that declares an experiment, relative to the project."""
    return _modules()[name].replace(".", "/") + ".py"


def load(name: str) -> Experiment:
    """Load the experiment that the file `<name>.py` declares."""
    found: Experiment = importlib.import_module(_modules()[name]).EXPERIMENT
    return found


def question(name: str) -> str:
    """Return the first paragraph of the experiment's docstring."""
    text = inspect.getdoc(importlib.import_module(_modules()[name])) or ""
    return " ".join(text.split("\n\n")[0].split())


def _modules() -> dict[str, str]:
    """Return the module of every experiment by the experiment's name."""
    files = ((package, file.stem) for package, folder in PACKAGES.items() for file in folder.glob("[!_]*.py"))
    return {name: f"{package}.{name}" for package, name in files}
