"""Define what a run and its measuring processes say to each other, as records of the standard library alone."""

from dataclasses import dataclass, field

from experiments.harness.records import Case, Environment, Result, Status, StoredCell


@dataclass(frozen=True)
class Describe:
    """Asks what there is: the environment, and the implementations in `files`, by name."""

    device: str
    files: dict[str, str]


@dataclass(frozen=True)
class Implementation:
    """What is known of an implementation without measuring it.

    problem: why its file cannot be used; lacking: what the machine lacks for it; helpers: the modules of the user's
    that it imports.
    """

    computes: str = ""
    library: str = ""
    version: str = ""
    compiles: bool = False
    problem: str = ""
    lacking: str = ""
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Answers `Describe`; `device` is the one that auto stands for. Memory is what processes may hold by default."""

    device: str
    cuda: bool
    implementations: dict[str, Implementation]
    environment: Environment
    gpu_memory_gib: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True)
class TryModel:
    """Asks what a user's network gives for (points, 1)."""

    file: str
    factory: str
    points: int


@dataclass(frozen=True)
class ModelShape:
    """Answers `TryModel`: the shape, or the problem with the network."""

    problem: str = ""
    shape: tuple[int, ...] = ()
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Open:
    """Hands a cell to a measuring process.

    file, model_file: where the implementation and the network lie, if outside the project. measurement: which of the
    experiment's. repeat: how many processes have made it before. cache: where compilers keep what they compile.
    oracle_results: where all processes of the case keep what an oracle said. checkpoint: where a training keeps how far
    it is. group: the process group that the ranks of the cell form.
    """

    case: Case
    implementation: str
    file: str | None
    model_file: str | None
    measurement: str
    repeat: int
    cache: str | None
    oracle_results: str | None
    checkpoint: str | None
    group: str = ""


@dataclass(frozen=True)
class Opened:
    """Answers `Open`."""


@dataclass(frozen=True)
class Turn:
    """Asks to go on until the measuring yields."""


@dataclass(frozen=True)
class Progress:
    """Answers `Turn`: the fraction of the work that is done."""

    done: float


@dataclass(frozen=True)
class End:
    """Answers `Turn` at the end, or stands for a process that did not live to say so.

    sources: None where it did not live to tell what it had imported. killed: by SIGKILL, which no process brings upon
    itself.
    """

    status: Status
    reason: str = ""
    result: Result = field(default_factory=Result)
    stream_digest: str = ""
    init_digest: str = ""
    sources: dict[str, str] | None = None
    lacking: str = ""
    killed: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether it ended well."""
        return self.status == Status.OK


@dataclass(frozen=True)
class Pin:
    """Asks to go on with these processors alone."""

    cores: tuple[int, ...]


@dataclass(frozen=True)
class Pinned:
    """Answers `Pin`."""


@dataclass(frozen=True)
class Join:
    """Tells rank 0 which rank has connected."""

    rank: int


@dataclass(frozen=True)
class Start:
    """Asks a rank for a measuring process."""

    threads: int


@dataclass(frozen=True)
class Stop:
    """Asks a rank to end its measuring process."""


@dataclass(frozen=True)
class Ended:
    """Answers `Stop`."""


@dataclass(frozen=True)
class Done:
    """Dismisses a rank."""


@dataclass(frozen=True)
class Survey:
    """Tells what a Dask worker is: the digest of its sources, empty where they have changed, and its processors."""

    project: str
    cores: int


@dataclass(frozen=True)
class Order:
    """Asks a Dask worker to measure the implementations that are `missing` in a case.

    implementations: all of the run. timeout: seconds. memory: bytes; None: most of what there is.
    """

    project: str
    case: Case
    missing: tuple[str, ...]
    implementations: tuple[str, ...]
    device: str
    profile: str
    timeout: float
    memory: float | None


@dataclass(frozen=True)
class Delivery:
    """Answers `Order`: the finished cells, and the environment that they were measured in."""

    environment: Environment
    cells: list[StoredCell]


Request = Describe | TryModel | Open | Turn | Pin | Start | Stop | Done
Answer = Machine | ModelShape | Opened | Progress | End | Pinned | Ended | Join
Message = Request | Answer
