"""Write cells as JSON and read them, whatever format of `docs/results.md` they have; of the standard library alone.

Every `parse_*` function takes decoded JSON and raises ValueError with one line saying what is wrong with it.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TypeAlias, TypeVar

from experiments.harness.records import Case, Environment, Parameters, Result, Row, Status, StoredCell, fields
from experiments.harness.records.fields import Json

FORMAT = 3
"""1 had no digest, 1 and 2 named the experiment twice; cells of both are read as they are."""
FORMATS = (1, 2, 3)
SEAL = '{\n "digest": "'
LEAST, MOST = -(2**63), 2**63 - 1  # what every reader of JSON has whole numbers for
STATUSES = tuple(status for status in Status if status != Status.LOST)
Numbers: TypeAlias = "array[float]"
"""An array of doubles, eight bytes each: a large store has many millions."""
T = TypeVar("T")


def seal(cell: StoredCell) -> str:
    """Return a cell's text, which begins with the SHA-256 of all that follows its second line."""
    rest = to_json({"format": FORMAT, **asdict(cell)}).removeprefix("{\n")
    return f'{SEAL}{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'


def sealed(text: bytes) -> bool:
    """Tell whether a cell's file is unchanged: its first field is the digest of all that follows."""
    digest, end, rest = text.removeprefix(SEAL.encode()).partition(b'",\n')
    return text.startswith(SEAL.encode()) and bool(end) and hashlib.sha256(rest).hexdigest().encode() == digest


def to_json(value: Json) -> str:
    """Write a value as JSON, with null for what it has no number for."""
    return json.dumps(finite(value), indent=1, allow_nan=False)


def finite(value: Json) -> Json:
    """Return a value with null for every number that JSON has none for."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple | array):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_file(raw: object, text: bytes) -> StoredCell:
    """Parse a cell's file, decoded and as it is; raises ValueError, too, where it was changed after it was written."""
    cell = parse_cell(raw)
    if fields.mapping(raw, "the file")["format"] > 1 and not sealed(text):
        raise ValueError("it was changed after it was written")
    return cell


def parse_cell(raw: object) -> StoredCell:
    """Parse a cell. Raises ValueError."""
    cell = fields.mapping(raw, "the file")
    version = fields.get(cell, "format", int)
    if version not in FORMATS:
        raise ValueError(f"format {version}, expected one of {', '.join(map(str, FORMATS))}")
    status = fields.get(cell, "status", str)
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    case = fields.mapping(fields.get(cell, "case", dict), "`case`")
    group = fields.get(cell, "round_group", (str, int), None)
    texts = (
        "computes", "library", "library_version", "reason", "note", "stream_digest", "init_digest", "finished",
        "environment", "commit", "machine", "lacking",
    )  # fmt: skip
    return StoredCell(
        case=_case(case, experiment=fields.get(case if version > 2 else cell, "experiment", str)),
        implementation=fields.get(cell, "implementation", str),
        round_group=None if group is None else str(group),
        reference_only=fields.get(cell, "reference_only", bool, False),
        status=Status(status),
        rows=[_row(row) for row in fields.get(cell, "rows", list, [])],
        empty=fields.labels(cell, "empty"),
        samples=_each(cell, "samples", _samples),
        observations=_each(cell, "observations", _numbers),
        series=_each(cell, "series", _curves),
        sources=fields.labels(cell, "sources"),
        timeout_s=fields.get(cell, "timeout_s", (int, float), None),
        # of an old cell it is not known, hence any is more
        memory_gib=fields.get(cell, "memory_gib", (int, float), None) if "memory_gib" in cell else 0.0,
        gpu_memory_gib=fields.get(cell, "gpu_memory_gib", (int, float), None),
        **{name: fields.get(cell, name, str, "") for name in texts},
    )


def check_result(result: object) -> None:
    """Raise ValueError where what an experiment returned is no `Result`, or could not be read back from a cell."""
    if not isinstance(result, Result):
        raise ValueError(f"it is a {type(result).__name__}, not a Result")
    try:
        text = json.dumps(asdict(result), ensure_ascii=False).encode()  # a surrogate alone is no text
    except TypeError as error:
        raise ValueError(str(error)) from None
    raw = json.loads(text)
    for row in [raw["row"], *fields.get(raw, "rows", list, [])]:
        _row(row)
    for name, values in fields.get(raw, "samples", dict, {}).items():
        _each({"samples": {name: [values]}}, "samples", _samples)
    _each(raw, "observations", _numbers)
    _each(raw, "series", _curves)
    fields.get(raw, "empty", dict, {})
    fields.get(raw, "note", str, "")


def parse_environment(raw: object) -> Environment:
    """Parse an environment. Raises ValueError."""
    environment = fields.mapping(raw, "the file")
    texts = ("python", "torch", "numpy", "device_model", "cpu_model", "platform", "cuda")
    return Environment(
        **{name: fields.get(environment, name, str, "") for name in texts},
        cores=fields.get(environment, "cores", int, None),
        tf32=fields.get(environment, "tf32", bool, False),
    )


def _case(raw: Json, experiment: str) -> Case:
    params = Parameters(fields.get(raw, "params", dict, {}))
    for name in ("tasks", "inner_steps", "shots"):  # of which tables are made
        fields.get(params, name, int, None)
    study = fields.get(params, "study", dict, None)
    if study is not None:
        fields.amounts(study, "factors")
    return Case(
        experiment=experiment,
        name=fields.get(raw, "name", str),
        params=params,
        device=fields.get(raw, "device", str),
        dtype=fields.get(raw, "dtype", str),
        seed=fields.get(raw, "seed", int),
        threads=fields.get(raw, "threads", int),
    )


def _row(raw: object) -> Row:
    row = fields.mapping(raw, "a row")
    for column, value in row.items():
        if value is not None and not isinstance(value, (int, float, str)):
            raise ValueError(f"`rows`: {column} is neither number nor text")
        if isinstance(value, int) and not LEAST <= value <= MOST:
            raise ValueError(f"`rows`: {column} is a whole number of more than 64 bits")
    return {column: None if isinstance(value, float) and math.isnan(value) else value for column, value in row.items()}


def _each(raw: Json, name: str, parse: Callable[[object], T]) -> dict[str, T]:
    try:
        return {key: parse(value) for key, value in fields.get(raw, name, dict, {}).items()}
    except (TypeError, ValueError, OverflowError) as error:
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
    processes = [process for process in map(_numbers, raw) if process]
    together = [sample for process in processes for sample in process]
    if not (math.isfinite(sum(together)) and min(together, default=0.0) >= 0):
        raise ValueError("a sample is negative or not a number")
    return processes


def _curves(raw: object) -> dict[str, Numbers]:
    curves = {name: _numbers(values) for name, values in fields.mapping(raw, "a series").items()}
    if len({len(values) for values in curves.values()}) > 1:
        raise ValueError("columns of unequal length")
    return curves
