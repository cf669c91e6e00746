"""Load one experiment of a results folder as a tidy DataFrame, together with its cells."""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from analysis import pages
from analysis.columns.column import Column, Mean, Sample, Time, plain
from analysis.page import Page
from analysis.store import age
from analysis.store.cells import Cell, shown
from experiments.harness.records import Environment
from experiments.harness.records.cells import parse_environment, parse_file

COMMON = (
    "experiment", "case", "implementation", "computes", "library", "library_version", "torch_version",
    "python_version", "device", "dtype", "threads", "tasks", "inner_steps", "shots", "seed", "stream_digest",
    "init_digest", "round_group", "environment", "status", "reason", "note", "age",
)  # fmt: skip
SHORT = 8  # characters of an environment digest in tables

_ENVIRONMENTS = "environments"
_OF_CELL = ("experiment", *(name for name in COMMON if name in Cell.__dataclass_fields__ and name != "status"))
_OF_CASE = ("device", "dtype", "threads", "seed")
_of_cell, _of_case = attrgetter(*_OF_CELL), attrgetter(*_OF_CASE)


class MixedDigests(ValueError):
    """Rows of one case were measured on different tasks or initial weights, so no table may compare them."""


class Unreadable(ValueError):
    """The results folder holds no cells of this experiment."""


@dataclass(frozen=True)
class Experiment:
    """One experiment's results.

    `columns`: its own, by name, those of its page first. `rows`: a DataFrame with the columns of `COMMON`, then these;
    its index, `cell`, is the position in `cells` of the cell that a row belongs to (samples, observations and series
    are read from there). `sections`: what `analysis.statistics.sections` made of the frames it saw last.
    """

    name: str
    page: Page
    columns: dict[str, Column]
    cells: list[Cell]
    environments: dict[str, Environment]
    rows: pd.DataFrame
    warnings: list[str]
    sections: deque[tuple[pd.DataFrame, list[Any]]] = field(default_factory=lambda: deque(maxlen=4), repr=False)
    """Frames and their sections, as `analysis.statistics.sections` made them last."""

    @cached_property
    def reasons(self) -> dict[str, list[str]]:
        """Return the reasons that cells give for having no value, by column, each reason once."""
        by_column: dict[str, dict[str, None]] = {}
        for cell in self.cells:
            for column, why in cell.empty.items():
                by_column.setdefault(column, {})[why] = None
        return {column: list(reasons) for column, reasons in by_column.items()}


def experiments_in(results: Path) -> list[str]:
    """Return the names of the experiments that have a folder in this results folder's store, in alphabetical order."""
    folders = (folder for folder in (results / "cells").glob("[!.]*") if folder.is_dir())
    return sorted(folder.name for folder in folders if folder.name != _ENVIRONMENTS)


def load(results: Path, experiment: str) -> Experiment:
    """Read one experiment, and refuse it if its rows cannot be compared.

    Damaged and foreign files are left out and named in `warnings`. Raises `Unreadable` without a folder of its cells,
    and `MixedDigests` if the rows of one case were measured on different tasks or weights.
    """
    loaded = read(results, experiment)
    refuse_mixed_digests(loaded)
    return loaded


def read(results: Path, experiment: str) -> Experiment:
    """Read one experiment as `load` does, but without checking that the rows of each case are comparable."""
    folder = results / "cells" / experiment
    warnings: list[str] = []
    if not folder.is_dir():
        raise Unreadable(f"cells/{experiment}: there is no such folder")
    now: age.Sources = {}
    if (results / "cells" / age.FILE).exists():
        with _leaving_out(f"cells/{age.FILE}", warnings):
            now = age.parse_sources(_json(results / "cells" / age.FILE))
    cells: list[Cell] = []
    for inside in _cell_files(folder):
        name = f"cells/{experiment}/{inside}"
        with _leaving_out(name, warnings):
            cells.append(_refuse_foreign(_cell(f"{folder}/{inside}", name, now), experiment))
    cells = _newest(cells, warnings)
    warnings += age.count_ages(cell.age for cell in cells)

    environments: dict[str, Environment] = {}
    for digest in sorted({cell.environment for cell in cells if cell.environment}):
        name = f"cells/{_ENVIRONMENTS}/{digest}.json"
        with _leaving_out(name, warnings):
            environments[digest] = parse_environment(_json(results / name))
    page = pages.find(experiment)
    columns = _columns(page, cells)
    return Experiment(experiment, page, columns, cells, environments, _frame(cells, environments, columns), warnings)


def refuse_mixed_digests(experiment: Experiment) -> None:
    """Raise `MixedDigests` if rows of one case that are ok have different task or weight digests."""
    cases: dict[tuple[object, ...], list[Cell]] = {}
    for cell in experiment.cells:
        if cell.ok:
            cases.setdefault(cell.case.id, []).append(cell)
    for cells in cases.values():
        for what, digest in (("tasks", "stream_digest"), ("initial weights", "init_digest")):
            seen: dict[str, set[str]] = {}
            for cell in cells:
                seen.setdefault(getattr(cell, digest), set()).add(cell.implementation)
            if len(seen) > 1:
                case = cells[0].case
                sides = "; ".join(f"{d[:12] or 'none'}: {', '.join(sorted(seen[d]))}" for d in sorted(seen))
                raise MixedDigests(
                    f"{experiment.name}, case {case.name} ({case.device}, {case.dtype}, seed {case.seed}): "
                    f"measured on different {what} ({digest} {sides}); measure the case again with --fresh"
                )


def _cell_files(folder: Path) -> list[str]:
    """Return `CASE/NAME.json` of all cells, sorted as paths are; by hand, since a glob takes longer than reading."""
    cases = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    names = [(case, name) for case in cases for name in os.listdir(folder / case)]
    return [f"{case}/{name}" for case, name in sorted(names) if name.endswith(".json") and name[0] != "."]


def _cell(file: str, name: str, now: age.Sources) -> Cell:
    with open(file, "rb", buffering=0) as content:
        text = content.readall()
    return shown(parse_file(orjson.loads(text), text), name, now)


def _json(file: Path) -> object:
    with open(file, "rb") as content:
        return orjson.loads(content.read())


@contextmanager
def _leaving_out(name: str, warnings: list[str]) -> Iterator[None]:
    """Turn an error in one file into a warning, so that the file is left out."""
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        warnings.append(f"{name}: left out, {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "not readable as JSON"
    if isinstance(error, OSError):
        return (error.strerror or "cannot be read").lower()  # str(error) would print the machine's path
    return " ".join(str(error).split())


def _refuse_foreign(cell: Cell, experiment: str) -> Cell:
    """Return the cell; raises ValueError if it belongs to another experiment."""
    if cell.experiment != experiment:
        raise ValueError(f"belongs to the experiment {cell.experiment!r}")
    return cell


def _newest(cells: Iterable[Cell], warnings: list[str]) -> list[Cell]:
    """Drop cells that a newer one replaces: same case, implementation, environment and round group."""
    newest: dict[tuple[object, ...], Cell] = {}
    old = 0
    for cell in sorted(cells, key=lambda cell: (cell.finished, cell.file)):
        key = (cell.case.id, cell.implementation, cell.environment, cell.round_group)
        old += key in newest
        newest[key] = cell
    if old:
        warnings.append(f"{old} older {'cell is' if old == 1 else 'cells are'} replaced by newer ones of the same case")
    return sorted(newest.values(), key=lambda cell: cell.file)


def _columns(page: Page, cells: list[Cell]) -> dict[str, Column]:
    """Return the columns of a page by name, then those that only the cells have."""
    columns = {column.name: column for column in page.columns}
    fields = {name for column in page.columns for name in column.fields} | set(COMMON)
    stored = dict.fromkeys(name for cell in cells for row in cell.rows for name in row)
    for name in stored:
        if name in fields or (name.endswith(("_lo", "_hi")) and name[:-3] in stored):
            continue
        columns[name] = Mean(name) if f"{name}_lo" in stored else plain(name)
    for name in dict.fromkeys(name for cell in cells for name in cell.samples):
        columns.setdefault(name, Time(name) if plain(name).timing else Sample(name))
    for name in dict.fromkeys(name for cell in cells for name in cell.observations):
        columns.setdefault(name, Mean(name))
    return columns


def _frame(cells: list[Cell], environments: dict[str, Environment], columns: dict[str, Column]) -> pd.DataFrame:
    timing = {name for column in columns.values() if column.timing for name in column.fields}
    lines: list[dict[str, Any]] = []
    for position, cell in enumerate(cells):
        environment = environments.get(cell.environment, Environment())
        common = {
            "cell": position,
            **dict(zip(_OF_CELL, _of_cell(cell), strict=True)),
            **dict(zip(_OF_CASE, _of_case(cell.case), strict=True)),
            **{name: cell.case.params.get(name) for name in ("tasks", "inner_steps", "shots")},
            "case": cell.case.name,
            "status": cell.status.value,
            "torch_version": environment.torch,
            "python_version": environment.python,
            "environment": cell.environment[:SHORT],
        }
        for row in cell.rows or [{}]:
            shown = {name: v for name, v in row.items() if name not in COMMON and (cell.ok or name not in timing)}
            lines.append(common | shown)
    stored = [name for name, column in columns.items() if column.stored and name not in COMMON]
    frame = pd.DataFrame(lines, dtype=object)
    others = [name for name in frame.columns if name not in {"cell", *COMMON, *stored}]
    frame = frame.reindex(columns=["cell", *COMMON, *stored, *others]).set_index("cell").infer_objects()
    whole = [
        "threads",
        "tasks",
        "inner_steps",
        "shots",
        "seed",
    ]  # keeps them whole numbers although some may be missing
    frame[whole] = frame[whole].convert_dtypes()
    return frame
