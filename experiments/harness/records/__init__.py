"""Define what crosses a process, reaches the store or is shown: records of plain data, of the standard library alone.

Whoever measures fills them in, whoever shows reads them. In this package `messages` are what a run and its workers say
to each other, `serial` and `cells` know the JSON of both, and `files` writes whole files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

Scalar = bool | int | float | str | None
Parameter = Scalar | Sequence["Parameter"] | Mapping[str, "Parameter"]
Row = dict[str, Scalar]
"""A row of a table, by column."""
Curve = Mapping[str, Sequence[float]]
"""Columns of equal length, such as an iteration and a loss."""
T = TypeVar("T")


class Status(StrEnum):
    """How the measuring of a cell ended."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    EXPECTED = "expected"
    WRONG = "wrong"
    DIVERGED = "diverged"
    FAILED = "failed"
    OOM = "oom"
    TIMEOUT = "timeout"
    LOST = "lost"
    """A rank has lost the others; never that of a cell."""


class Parameters(dict[str, Parameter]):
    """What an experiment asks for in a case, by name; each method raises TypeError for a value of another type."""

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number."""
        return self._typed(name, int, default)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._typed(name, (int, float), None)
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        return self._typed(name, str, default)

    def flag(self, name: str) -> bool:
        """Return whether a parameter is set; False where it is absent."""
        return self._typed(name, bool, False)

    def part(self, name: str) -> "Parameters":
        """Return parameters that belong together, such as a network's size; none where it is absent."""
        return Parameters(self._typed(name, dict, {}))

    def extended(self, **more: Parameter) -> "Parameters":
        """Return the same parameters and some more."""
        return Parameters({**self, **more})

    def _typed(self, name: str, kind: type[T] | tuple[type[T], ...], default: T | None) -> T:
        stored = self.get(name)
        value = default if stored is None else stored  # null is the same as absent
        if value is None:
            raise KeyError(name)
        if not isinstance(value, kind):
            raise TypeError(f"the parameter {name} is a {type(value).__name__}")
        return value


@dataclass(frozen=True)
class Case:
    """One setting of one experiment, of which every implementation gets the same tasks, weights and settings.

    name: for people, unique in its experiment up to device, dtype, seed and threads.
    """

    experiment: str
    name: str
    params: Parameters = field(hash=False)
    device: str
    dtype: str
    seed: int
    threads: int

    @property
    def folder(self) -> str:
        """Return the name of the case's folder in the store."""
        return f"{self.name}-{self.device}-{self.dtype}-seed{self.seed}-threads{self.threads}"

    @cached_property
    def setting(self) -> tuple[str, str, str, int]:
        """Return the case without its seed, by which tables and panels are grouped."""
        return self.name, self.device, self.dtype, self.threads

    @cached_property
    def id(self) -> tuple[str, str, str, int, int]:
        """Return the setting and the seed; rows with the same id must have used the same tasks and initial weights."""
        return *self.setting, self.seed

    @cached_property
    def factors(self) -> dict[str, float]:
        """Return, for a point of scaling studies, its value of each study's factor."""
        found = self.params.part("study").part("factors")
        return {name: found.number(name) for name in found}


@dataclass(frozen=True)
class UserModel:
    """A network of the user's in the place of an experiment's own: a function `factory` in a file."""

    file: str
    factory: str
    sha256: str

    @property
    def parameters(self) -> Parameters:
        """Return what a case with this network has as its `model`."""
        return Parameters(asdict(self))


@dataclass(frozen=True)
class Options:
    """What the user asked of a run, as far as it shapes the cases."""

    profile: str
    device: str
    seeds: tuple[int, ...] | None
    threads: int
    model: UserModel | None

    def network(self, own: Mapping[str, Parameter]) -> Parameters:
        """Return the network of a case: the user's, or in its absence the experiment's own."""
        return self.model.parameters if self.model else Parameters(own)


@dataclass
class Result:
    """What one measurement gave of one implementation in one case; docs/results.md has the fields' meaning.

    rows: in the place of `row`, where a cell is several rows of the table.
    """

    row: Row = field(default_factory=dict)
    rows: list[Row] | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)
    observations: dict[str, list[float]] = field(default_factory=dict)
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    empty: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Environment:
    """The machine and the versions with which cells were measured; nothing in it names the machine or its user."""

    python: str = ""
    torch: str = ""
    numpy: str = ""
    device_model: str = ""
    cpu_model: str = ""
    cores: int | None = None
    platform: str = ""
    tf32: bool = False
    cuda: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One implementation's result in one case. `samples` are in the unit that their name says, a list per process.

    machine: in a run on several machines, an identifier of the one that measured the cell, without its name; empty for
    the run's own. commit: of the project, as the run recorded it. environment: the digest of it.
    """

    case: Case
    implementation: str
    computes: str = ""
    library: str = ""
    library_version: str = ""
    round_group: str | None = None
    reference_only: bool = False
    status: Status = Status.OK
    reason: str = ""
    note: str = ""
    stream_digest: str = ""
    init_digest: str = ""
    rows: list[Row] = field(default_factory=list)
    empty: dict[str, str] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    observations: Mapping[str, Sequence[float]] = field(default_factory=dict)
    series: Mapping[str, Curve] = field(default_factory=dict)
    finished: str = ""
    environment: str = ""
    commit: str = ""
    machine: str = ""

    @property
    def experiment(self) -> str:
        """Return the name of the cell's experiment."""
        return self.case.experiment

    @property
    def ok(self) -> bool:
        """Tell whether the cell holds a result that may be compared."""
        return self.status == Status.OK

    @property
    def verdict(self) -> str:
        """Return the status as a check's verdict: `right` for ok, else the status itself."""
        return "right" if self.ok else self.status


@dataclass(frozen=True, kw_only=True)
class StoredCell(Cell):
    """A cell with all that tells whether it would come out the same today.

    sources: the digest of each file that measuring imported. lacking: what the machine lacked, whatever the case.
    timeout_s, memory_gib, gpu_memory_gib: what a measuring process was allowed; None: nothing known limited it.
    """

    sources: dict[str, str] = field(default_factory=dict)
    lacking: str = ""
    timeout_s: float | None = None
    memory_gib: float | None = None
    gpu_memory_gib: float | None = None
