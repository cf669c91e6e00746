"""What the store holds: cells, environments and declarations, parsed from the JSON of `docs/results.md`.

Every `parse_*` function takes decoded JSON and raises `ValueError` with one line saying what is wrong with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
STATUSES = ("ok", "unavailable", "expected", "wrong", "diverged", "failed", "oom", "timeout")
COMPUTES = ("maml", "fomaml", "reptile")  # in the order in which they are shown

Value = float | int | str | None
Numbers = list[float]
Json = dict[str, Any]
_REQUIRED: Any = object()


@dataclass(frozen=True)
class Case:
    """One setting of one experiment; `params` holds whatever the experiment varies."""

    name: str
    params: dict[str, Any]
    device: str
    dtype: str
    seed: int | None
    threads: int | None

    @property
    def setting(self) -> tuple[str, str, str, int | None]:
        """The case without its seed: what tables and panels group by."""
        return self.name, self.device, self.dtype, self.threads

    @property
    def id(self) -> tuple[str, str, str, int | None, int | None]:
        """The setting and the seed: rows with the same id must have seen the same draws."""
        return *self.setting, self.seed


@dataclass(frozen=True)
class Cell:
    """One implementation's result in one case. `samples` are in the unit that their name says."""

    file: str
    experiment: str
    implementation: str
    case: Case
    computes: str
    library: str
    library_version: str
    environment: str
    round_group: str | None
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

    @property
    def ok(self) -> bool:
        """Whether the cell holds a result that may be compared."""
        return self.status == "ok"

    @property
    def verdict(self) -> str:
        """The status in the words of a check: what is ok is right."""
        return "right" if self.ok else self.status


@dataclass(frozen=True)
class Environment:
    """Machine and versions that a cell was measured with."""

    python: str = ""
    torch: str = ""
    numpy: str = ""
    device_model: str = ""
    cpu_model: str = ""
    cores: int | None = None
    platform: str = ""
    cuda: str = ""


@dataclass(frozen=True)
class Agreement:
    """A curve whose first entries must agree with the reference's, within a relative tolerance, in one dtype."""

    series: str
    column: str
    first: int
    tolerance: float
    dtype: str


@dataclass(frozen=True)
class FigureSpec:
    """A figure that an experiment declares; which fields count depends on its kind."""

    name: str
    kind: str
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    series: str = ""
    x: str = ""
    y: str = ""
    values: tuple[str, ...] = ()
    where: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    """What an experiment says of itself."""

    name: str
    question: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    markdown: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    ratio_of: str = ""
    compare: str = ""
    agreement: Agreement | None = None
    best_first: str = ""
    figures: tuple[FigureSpec, ...] = ()


def computes_order(computes: str) -> tuple[int, str]:
    """Sorting key of what implementations compute: second order first, what is not known last."""
    return (COMPUTES.index(computes) if computes in COMPUTES else len(COMPUTES), computes)


def parse_cell(raw: object, file: str) -> Cell:
    """The cell in `raw`; `file` is its name relative to the results folder. Raises `ValueError`."""
    cell = _object(raw, "the file")
    version = _get(cell, "format", int)
    if version != FORMAT:
        raise ValueError(f"format {version}, expected {FORMAT}")
    status = _get(cell, "status", str)
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    case = _object(_get(cell, "case", dict), "`case`")
    group = _get(cell, "round_group", (str, int), None)
    measured = status == "ok"  # a row that is not right shows no measurement, whatever its file holds
    return Cell(
        file=file,
        experiment=_get(cell, "experiment", str),
        implementation=_get(cell, "implementation", str),
        case=Case(
            name=_get(case, "name", str),
            params=_get(case, "params", dict, {}),
            device=_get(case, "device", str),
            dtype=_get(case, "dtype", str),
            seed=_get(case, "seed", int, None),
            threads=_get(case, "threads", int, None),
        ),
        computes=_get(cell, "computes", str, ""),
        library=_get(cell, "library", str, ""),
        library_version=_get(cell, "library_version", str, ""),
        environment=_get(cell, "environment", str, ""),
        round_group=None if group is None else str(group),
        status=status,
        reason=_get(cell, "reason", str, ""),
        note=_get(cell, "note", str, ""),
        stream_digest=_get(cell, "stream_digest", str, ""),
        init_digest=_get(cell, "init_digest", str, ""),
        finished=_get(cell, "finished", str, ""),
        rows=[_row(row) for row in _get(cell, "rows", list, [])],
        empty={name: str(why) for name, why in _get(cell, "empty", dict, {}).items()},
        samples=_each(cell, "samples", _samples) if measured else {},
        observations=_each(cell, "observations", _numbers) if measured else {},
        series=_each(cell, "series", _curves) if measured else {},
    )


def parse_environment(raw: object) -> Environment:
    """The environment in `raw`. Raises `ValueError`."""
    environment = _object(raw, "the file")
    texts = ("python", "torch", "numpy", "device_model", "cpu_model", "platform", "cuda")
    return Environment(
        **{name: _get(environment, name, str, "") for name in texts},
        cores=_get(environment, "cores", int, None),
    )


def parse_declaration(raw: object) -> Declaration:
    """The declaration in `raw`. Raises `ValueError`."""
    declared = _object(raw, "the file")
    agreement = _get(declared, "agreement", dict, None)
    return Declaration(
        name=_get(declared, "name", str),
        question=_get(declared, "question", str, ""),
        columns={name: str(meaning) for name, meaning in _get(declared, "columns", dict, {}).items()},
        markdown=_texts(declared, "markdown"),
        references=_texts(declared, "references"),
        ratio_of=_get(declared, "ratio_of", str, ""),
        compare=_get(declared, "compare", str, ""),
        agreement=None if agreement is None else _agreement(agreement),
        best_first=_get(declared, "best_first", str, ""),
        figures=tuple(_figure(figure) for figure in _get(declared, "figures", list, [])),
    )


def _agreement(raw: Json) -> Agreement:
    return Agreement(
        series=_get(raw, "series", str),
        column=_get(raw, "column", str),
        first=_get(raw, "first", int),
        tolerance=float(_get(raw, "tolerance", (int, float))),
        dtype=_get(raw, "dtype", str),
    )


def _figure(raw: object) -> FigureSpec:
    figure = _object(raw, "a figure")
    name, kind = _get(figure, "name", str), _get(figure, "kind", str)
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"{name!r} cannot name a figure's file")
    curve, dots = ("series", "x", "y"), ("values",)
    needs = {"curves": curve, "drift": curve, "intervals": dots, "points": dots}
    if kind not in needs:
        raise ValueError(f"figure {name!r}: unknown kind {kind!r}")
    if missing := [part for part in needs[kind] if not figure.get(part)]:
        raise ValueError(f"figure {name!r}: `{missing[0]}` is missing")
    texts = ("title", "xlabel", "ylabel", "series", "x", "y")
    return FigureSpec(
        name=name,
        kind=kind,
        **{part: _get(figure, part, str, "") for part in texts},
        values=_texts(figure, "values"),
        where=_get(figure, "where", dict, {}),
    )


def _object(raw: object, what: str) -> Json:
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is not a JSON object")
    return raw


def _get(raw: Json, name: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
    """The field `name`, checked to be of `kind`; null and absence both mean the default."""
    value = raw.get(name)
    if value is None:
        if default is _REQUIRED:
            raise ValueError(f"`{name}` is missing")
        return default
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` has the wrong type ({type(value).__name__})")
    return value


def _texts(raw: Json, name: str) -> tuple[str, ...]:
    return tuple(str(text) for text in _get(raw, name, list, []))


def _row(raw: object) -> dict[str, Value]:
    row = _object(raw, "a row")
    for column, value in row.items():
        if value is not None and not isinstance(value, (int, float, str)):
            raise ValueError(f"`rows`: {column} is neither number nor text")
    return {column: None if isinstance(value, float) and math.isnan(value) else value for column, value in row.items()}


def _each(raw: Json, name: str, parse: Callable[[object], Any]) -> dict[str, Any]:
    try:
        return {key: parse(value) for key, value in _get(raw, name, dict, {}).items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}`: {error}") from None


def _numbers(raw: object) -> Numbers:
    """A list of numbers; null, which JSON has for what is not finite, becomes NaN."""
    if not isinstance(raw, list) or not all(v is None or isinstance(v, (int, float)) for v in raw):
        raise ValueError("not a list of numbers")
    return [math.nan if value is None else float(value) for value in raw]


def _samples(raw: object) -> list[Numbers]:
    if not isinstance(raw, list):
        raise ValueError("not one list per process")
    processes = [_numbers(process) for process in raw]
    if not all(math.isfinite(value) and value >= 0 for process in processes for value in process):
        raise ValueError("a sample is negative or not a number")
    return [process for process in processes if process]


def _curves(raw: object) -> dict[str, Numbers]:
    curves = {name: _numbers(values) for name, values in _object(raw, "a series").items()}
    if len({len(values) for values in curves.values()}) > 1:
        raise ValueError("columns of unequal length")
    return curves
