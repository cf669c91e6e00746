"""Make the two main tables of an experiment: tidy CSV for programs, Markdown for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import text
from analysis.columns.column import Column
from analysis.columns.losses import Agreement, Difference
from analysis.columns.times import Ratio
from analysis.columns.trends import TrendRate
from analysis.columns.values import number_of, word_of
from analysis.statistics.sections import OK, Section, gaps, labels, sections
from analysis.store import machines
from analysis.store.cells import Cell
from analysis.store.load import SHORT, Experiment
from analysis.tables import overview
from analysis.tables.legend import meaning, why_empty
from experiments.harness.records import Environment

_DIGEST = 12  # characters shown of a digest
_DIGESTS_NAMED = 10
_TEXTS = {"implementation", "computes", "environment", "torch_version", "status", "cases"}


def csv(frame: pd.DataFrame) -> str:
    """Return one line per row with all columns; `frame` comes from `columns.frame.with_computed`."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def markdown(experiment: Experiment, frame: pd.DataFrame) -> str:
    """Return the Markdown page: title, question, a table per section, gaps, environments, warnings and legend."""
    section_list = sections(experiment, frame)
    columns = shown_columns(experiment, frame.columns)
    column_names = [column.name for column in columns]
    tables = [_escaped(text_cells(section, columns)) for section in section_list]
    used = [name for name in ["environment", "torch_version", *column_names] if any(name in table for table in tables)]
    blocks = [f"# {text.escape(experiment.name)}", _prose(experiment.page.question)]
    blocks.append(machines.sentence(experiment.cells))
    texts = _TEXTS | {name for name in column_names if not _is_number(frame.get(name))}
    ranged = [name for name in used if name in column_names and name not in texts]
    if ranged and len(section_list) >= overview.FROM:
        blocks += [
            "## Overview",
            text.grid(
                text.quote_names(overview.overview(section_list, [experiment.columns[name] for name in ranged])), _TEXTS
            ),
        ]
    for name, section, table in zip(labels(section_list), section_list, tables, strict=True):
        absent = [column for column in used if column in column_names and column not in table]
        blocks += [f"## {text.escape(name)}", text.grid(table, texts), _empty(absent, experiment), _conditions(section)]
    blocks += [
        "---",
        _empty([name for name in column_names if name not in used], experiment),
        _gaps(section_list, column_names),
    ]
    for digest, environment in experiment.environments.items():
        cells = [cell for cell in experiment.cells if cell.environment == digest]
        blocks.append(f"Environment `{digest[:SHORT]}`: {text.escape(in_words(environment, cells))}.")
    if any(section.rounds > 1 for section in section_list):
        blocks.append("Times are compared only inside one round group, whose processes took turns on the machine.")
    if any(len(section.environments) > 1 for section in section_list):
        blocks.append("Rows of several environments stand in one table: they differ in versions or machine.")
    if experiment.warnings:
        blocks.append("Warnings:\n\n" + _bullets(text.escape(line) for line in experiment.warnings))
    legend = [name for name in _all_headers(tables) if meaning(name, experiment)]
    blocks += ["## Legend", _bullets(f"{text.code(n)}: {_prose(meaning(n, experiment))}" for n in legend)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def shown_columns(experiment: Experiment, present: Iterable[str]) -> list[Column]:
    """Return the columns of the Markdown table, each followed by the comparisons made from it.

    They are those that the page names, or all columns without a page. Comparisons without data are left out.
    """
    columns, present = experiment.columns, set(present)
    names = [*columns] if experiment.page.shown is None else experiment.page.shown
    comparisons: dict[str, list[Column]] = {}
    for column in columns.values():
        if isinstance(column, Ratio | Difference) and column.name in present:
            comparisons.setdefault(column.of, []).append(column)
        if isinstance(column, TrendRate) and column.name in present:
            comparisons.setdefault(column.trend.name, []).append(column)
    order: list[Column] = []
    for name in names:
        order += [columns[name], *comparisons.pop(name, [])]
    order += [column for remaining in comparisons.values() for column in remaining]
    order += [column for column in columns.values() if isinstance(column, Agreement) and column.name in present]
    return list(dict.fromkeys(order))


def text_cells(section: Section, columns: Iterable[Column]) -> dict[str, list[str]]:
    """Return cells of plain text by header, without empty columns; there is one for each row of the section."""
    rows = section.lines
    table = {"implementation": [str(row["implementation"]) for row in rows]}
    if len({row["computes"] for row in rows}) > 1:
        table["computes"] = [word_of(row, "computes") for row in rows]
    if len(section.environments) > 1:
        for name in ("torch_version", "environment"):
            table[name] = [word_of(row, name) for row in rows]
    if max(row["seeds"] for row in rows) > 1:
        table["seeds"] = [str(row["seeds"]) for row in rows]
    table |= {column.name: [column.text(row) for row in rows] for column in columns}
    if any(row["remarks"] for row in rows):
        table["status"] = [row["remarks"] if row["status"] != OK else _ok(row) for row in rows]
    return {name: cells for name, cells in table.items() if any(cells)}


def _ok(row: Mapping[Any, object]) -> str:
    return ": ".join(filter(None, [OK, str(row["remarks"])]))


def _escaped(table: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the table with its cells escaped for Markdown."""
    return {name: list(map(text.code if name == "implementation" else text.escape, c)) for name, c in table.items()}


def _is_number(values: pd.Series | None) -> bool:
    """Tell whether a column holds any number, even among words such as `never`."""
    return values is not None and any(math.isfinite(number_of(value)) for value in values)


def _conditions(section: Section) -> str:
    """Return the line below a table: what its rows have in common."""
    threads = "" if section.threads is None else f"{section.threads} thread{'s' * (section.threads != 1)}"
    digests = [_digests("stream", section.streams), _digests("initial weight draw", section.weights)]
    environments = ", ".join(f"`{environment}`" for environment in section.environments)
    plural = "s" * (len(section.environments) > 1)
    parts = [section.device, section.dtype, threads, *digests, environments and f"environment{plural} {environments}"]
    return "; ".join(filter(None, parts))


def _digests(what: str, values: Sequence[str]) -> str:
    """Return digests by name, or only their number if there are too many to list."""
    if len(values) > _DIGESTS_NAMED:
        return f"{len(values)} {what}s"
    return f"{what}{'s' * (len(values) > 1)} {', '.join(f'`{value[:_DIGEST]}`' for value in values)}" if values else ""


def in_words(environment: Environment, cells: Iterable[Cell]) -> str:
    """Return an environment in one line, with the libraries measured in it and the commits of the project."""
    cells = list(cells)
    libraries = {cell.library: cell.library_version for cell in cells if cell.library}
    commits = sorted({cell.commit for cell in cells if cell.commit})
    processor = environment.cpu_model + (f" ({environment.cores} cores)" if environment.cores else "")
    device = environment.device_model if environment.device_model != environment.cpu_model else ""
    versions = {"Python": environment.python, "torch": environment.torch, "NumPy": environment.numpy}
    named = [f"{name} {version}" for name, version in (versions | dict(sorted(libraries.items()))).items() if version]
    cuda = f"CUDA {environment.cuda}" if environment.cuda else "no CUDA"
    parts = [*named, device, processor, environment.platform, cuda, "TF32 off"]
    commit_note = f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}" if commits else ""
    return "; ".join(filter(None, [", ".join(filter(None, parts)), commit_note]))


def _empty(columns: list[str], experiment: Experiment) -> str:
    reasons: dict[str, list[str]] = {}
    for name in columns:
        reasons.setdefault(why_empty(name, experiment), []).append(text.code(name))
    listing = ", ".join(f"{', '.join(names)} ({text.escape(why)})" for why, names in reasons.items())
    return f"Empty and not shown: {listing}." if listing else ""


def _gaps(section_list: list[Section], columns: list[str]) -> str:
    """Return why single rows that are ok lack values that others have."""
    remarks = [
        f"{text.code(column)} of {', '.join(map(text.code, names))} ({text.escape(why)})"
        for (column, why), names in gaps(section_list, columns).items()
    ]
    return f"Empty in single rows: {', '.join(remarks)}." if remarks else ""


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _all_headers(tables: list[dict[str, list[str]]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _prose(words: str) -> str:
    """Return the project's own text on one line; it may use code style, so only angle brackets are escaped."""
    return " ".join(words.split()).replace("<", "&lt;").replace(">", "&gt;")
