"""Parse cells and environments from the JSON of `docs/results.md` into typed records.

Every `parse_*` function takes decoded JSON and raises `ValueError` with one line saying what is wrong with it.
"""

import hashlib
import math
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from analysis.store import fields
from analysis.store.age import Sources, age
from analysis.store.fields import Json

FORMATS = (1, 2)
SEAL = b'{\n "digest": "'
STATUSES = ("ok", "unavailable", "expected", "wrong", "diverged", "failed", "oom", "timeout")
COMPUTES = {  # in words, in the order in which they are shown
    "maml": "second order",
    "fomaml": "first order",
    "reptile": "Reptile",
    "pretraining": "pre-training",
}
MISUSES = "baselines/misuse/"  # files of common mistakes that are not MAML

Value = float | int | str | None
Numbers: TypeAlias = "array[float]"
"""An array of doubles, eight bytes each: a large store has many millions."""


@dataclass(frozen=True)
class Case:
    """One setting of one experiment; `params` holds whatever the experiment varies.

    `factors`: if the case is a point of scaling studies, its value of each study's factor.
    """

    name: str
    params: dict[str, Any]
    device: str
    dtype: str
    seed: int | None
    threads: int | None
    factors: dict[str, float] = field(default_factory=dict)

    @cached_property
    def setting(self) -> tuple[str, str, str, int | None]:
        """Return the case without its seed, by which tables and panels are grouped."""
        return self.name, self.device, self.dtype, self.threads

    @cached_property
    def id(self) -> tuple[str, str, str, int | None, int | None]:
        """Return the setting and the seed; rows with the same id must have used the same tasks and initial weights."""
        return *self.setting, self.seed


@dataclass(frozen=True)
class Cell:
    """One implementation's result in one case. `samples` are in the unit that their name says.

    machine: in a run on several machines, an identifier of the one that measured the cell, without its name; empty for
    the run's own. misuse: whether the implementation is one of the known misuses of a library, by the sources that were
    measured. commit: of the project, as the run recorded it. age: how the sources differ from today's, empty if they do
    not.
    """

    file: str
    experiment: str
    implementation: str
    case: Case
    computes: str
    library: str
    library_version: str
    environment: str
    machine: str
    round_group: str | None
    reference_only: bool
    status: str
    reason: str
    note: str
    stream_digest: str
    init_digest: str
    finished: str
    rows: list[dict[str, Value]]
    empty: dict[str, str]
    samples: dict[str, list[Numbers]]
    observations: dict[str, Numbers]
    series: dict[str, dict[str, Numbers]]
    misuse: bool
    commit: str
    age: str

    @property
    def ok(self) -> bool:
        """Tell whether the cell holds a result that may be compared."""
        return self.status == "ok"

    @property
    def verdict(self) -> str:
        """Return the status as a check's verdict: `right` for ok, else the status itself."""
        return "right" if self.ok else self.status


@dataclass(frozen=True)
class Environment:
    """The machine and the versions with which a cell was measured."""

    python: str = ""
    torch: str = ""
    numpy: str = ""
    device_model: str = ""
    cpu_model: str = ""
    cores: int | None = None
    platform: str = ""
    cuda: str = ""


def computes_order(computes: str) -> tuple[int, str]:
    """Return a sort key for what implementations compute: second order first, unknown kinds last."""
    return ([*COMPUTES, computes].index(computes), computes)


def sealed(text: bytes) -> bool:
    """Tell whether a cell's file is unchanged: its first field is the digest of all that follows."""
    digest, _, rest = text.removeprefix(SEAL).partition(b'",\n')
    return text.startswith(SEAL) and hashlib.sha256(rest).hexdigest().encode() == digest


def parse_cell(raw: object, file: str, now: Sources = MappingProxyType({})) -> Cell:
    """Parse a cell; `file` is its name relative to the results folder, `now` today's sources. Raises `ValueError`."""
    cell = fields.mapping(raw, "the file")
    version = fields.get(cell, "format", int)
    if version not in FORMATS:
        raise ValueError(f"format {version}, expected {' or '.join(map(str, FORMATS))}")
    status = fields.get(cell, "status", str)
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    case = fields.mapping(fields.get(cell, "case", dict), "`case`")
    params = fields.get(case, "params", dict, {})
    study = fields.get(params, "study", dict, None)
    group = fields.get(cell, "round_group", (str, int), None)
    implementation: str = fields.get(cell, "implementation", str)
    sources = fields.get(cell, "sources", dict, {})
    measured = status == "ok"  # a cell that is not ok shows no measurement, whatever its file holds
    return Cell(
        file=file,
        experiment=fields.get(cell, "experiment", str),
        implementation=implementation,
        case=Case(
            name=fields.get(case, "name", str),
            params=params,
            device=fields.get(case, "device", str),
            dtype=fields.get(case, "dtype", str),
            seed=fields.get(case, "seed", int, None),
            threads=fields.get(case, "threads", int, None),
            factors={} if study is None else fields.amounts(study, "factors"),
        ),
        computes=fields.get(cell, "computes", str, ""),
        library=fields.get(cell, "library", str, ""),
        library_version=fields.get(cell, "library_version", str, ""),
        environment=fields.get(cell, "environment", str, ""),
        machine=fields.get(cell, "machine", str, ""),
        round_group=None if group is None else str(group),
        reference_only=fields.get(cell, "reference_only", bool, False),
        status=status,
        reason=fields.get(cell, "reason", str, ""),
        note=fields.get(cell, "note", str, ""),
        stream_digest=fields.get(cell, "stream_digest", str, ""),
        init_digest=fields.get(cell, "init_digest", str, ""),
        finished=fields.get(cell, "finished", str, ""),
        rows=[_row(row) for row in fields.get(cell, "rows", list, [])],
        empty={name: str(why) for name, why in fields.get(cell, "empty", dict, {}).items()},
        samples=_each(cell, "samples", _samples) if measured else {},
        observations=_each(cell, "observations", _numbers) if measured else {},
        series=_each(cell, "series", _curves) if measured else {},
        misuse=f"{MISUSES}{implementation.replace('-', '_')}.py" in sources,
        commit=fields.get(cell, "commit", str, ""),
        age=age(sources, implementation, now),
    )


def parse_environment(raw: object) -> Environment:
    """Parse an environment. Raises `ValueError`."""
    environment = fields.mapping(raw, "the file")
    texts = ("python", "torch", "numpy", "device_model", "cpu_model", "platform", "cuda")
    return Environment(
        **{name: fields.get(environment, name, str, "") for name in texts},
        cores=fields.get(environment, "cores", int, None),
    )


def _row(raw: object) -> dict[str, Value]:
    row = fields.mapping(raw, "a row")
    for column, value in row.items():
        if value is not None and not isinstance(value, (int, float, str)):
            raise ValueError(f"`rows`: {column} is neither number nor text")
    return {column: None if isinstance(value, float) and math.isnan(value) else value for column, value in row.items()}


def _each(raw: Json, name: str, parse: Callable[[object], Any]) -> dict[str, Any]:
    try:
        return {key: parse(value) for key, value in fields.get(raw, name, dict, {}).items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}`: {error}") from None


def _numbers(raw: object) -> Numbers:
    """Parse a list of numbers; null, which is JSON's word for a number that is not finite, becomes NaN."""
    if isinstance(raw, list):
        try:
            return array("d", raw)
        except TypeError:
            with suppress(TypeError):
                return array("d", [math.nan if value is None else value for value in raw])
    raise ValueError("not a list of numbers")


def _samples(raw: object) -> list[Numbers]:
    if not isinstance(raw, list):
        raise ValueError("not one list per process")
    processes = [_numbers(process) for process in raw]
    if not all(math.isfinite(sum(process)) and min(process, default=0.0) >= 0 for process in processes):
        raise ValueError("a sample is negative or not a number")
    return [process for process in processes if process]


def _curves(raw: object) -> dict[str, Numbers]:
    curves = {name: _numbers(values) for name, values in fields.mapping(raw, "a series").items()}
    if len({len(values) for values in curves.values()}) > 1:
        raise ValueError("columns of unequal length")
    return curves
