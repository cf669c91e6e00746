"""Write `report.html`, one page with all tables and plots of a results folder; plots are embedded in the page."""

import base64
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import text
from analysis.columns.column import Column
from analysis.columns.peers import grouped
from analysis.columns.values import number_of, value_of
from analysis.render import Rendered, further_tables, render
from analysis.statistics.sections import Section, labels, sections
from analysis.store import machines
from analysis.store.cells import Cell
from analysis.store.load import SHORT, Experiment
from analysis.tables import answer, tidy
from analysis.tables.legend import meaning
from experiments.harness.records.files import write_whole

NAME = "report.html"
_PLAIN = str.maketrans("", "", "*`")  # removes Markdown's marks
CellGroups = Mapping[Hashable, list[Cell]]
"""Cells by setting and implementation."""


@dataclass(frozen=True)
class Entry:
    """One cell of a table: its text, the key that it is sorted by, and the files that it links to."""

    text: str
    key: float | str = ""
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table: its headers, each with an explanation, and its rows."""

    title: str
    headers: list[tuple[str, str]]
    rows: list[list[Entry]]
    conditions: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot, encoded as Base64 for the page."""

    title: str
    data: str


@dataclass
class Chapter:
    """What the page shows of one experiment."""

    name: str
    question: str
    counts: str
    grids: list[Grid]
    pictures: list[Picture]
    machines: str
    warnings: list[str] = field(default_factory=list)


def report(results: Path) -> tuple[Path, Rendered]:
    """Render the tables and plots of a results folder, and `report.html` from them.

    Raises NothingToRender and MixedDigests, as `render` does.
    """
    rendered = render(results)
    frames = list(rendered.frames.values())
    experiments = [experiment for experiment, _ in frames]
    page = Environment(
        loader=PackageLoader("analysis", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.jinja")  # fmt: skip
    content = page.render(
        answers=list(_answers(frames)),
        chapters=[_chapter(experiment, frame, results) for experiment, frame in frames],
        environments=_environments(experiments),
        finished=_days(experiments),
        missing=_missing(experiments),
        warnings=rendered.warnings,
    )
    file = results / NAME
    write_whole(file, content.encode(), durable=False)
    return file, rendered


def _answers(frames: list[tuple[Experiment, pd.DataFrame]]) -> Iterator[Grid]:
    """Yield the tables that answer who is right, who is fastest and what each costs."""
    experiments = [experiment for experiment, _ in frames]
    yield _plain("Which implementations are right", answer.verdicts(experiments), _machines(experiments))
    for experiment, frame in frames:
        quantity = experiment.page.ratio_of
        compared = any(cell.computes for cell in experiment.cells)  # otherwise the rows are not implementations
        if quantity and compared and (table := answer.fastest(experiment, frame)):
            description = f"{experiment.name}: {experiment.columns[quantity].meaning or quantity}"
            machine_note = _machines([experiment])
            yield _plain(
                "Which is fastest",
                table,
                ". ".join(filter(None, [f"{description}; medians and 95 % intervals", machine_note])),
            )
            yield _plain(
                "What each costs", answer.costs(experiment, frame), ". ".join(filter(None, [description, machine_note]))
            )


def _plain(title: str, table: answer.Table, conditions: str = "") -> Grid:
    rows = [[Entry(cell, _key(cell)) for cell in row] for row in zip(*table.values(), strict=True)]
    return Grid(title, [(name, "") for name in table], rows, conditions)


def _key(cell: str) -> float | str:
    """Return the sort key of a cell: a number if it starts with one, with or without an interval, else its text."""
    try:
        return float(cell.partition(" ")[0].rstrip("×"))
    except ValueError:
        return cell


def _chapter(experiment: Experiment, frame: pd.DataFrame, results: Path) -> Chapter:
    page = experiment.page
    columns = tidy.shown_columns(experiment, frame.columns)
    section_list = sections(experiment, frame)
    cell_groups = grouped(experiment.cells, lambda cell: (cell.case.setting, cell.implementation))
    grids = [*_further(experiment, frame)]  # first, since the page folds away the last of many tables
    grids += [
        _grid(name, section, columns, experiment, cell_groups)
        for name, section in zip(labels(section_list), section_list, strict=True)
    ]
    pictures = []
    for figure in page.figures:
        file = results / "plots" / f"{figure.name}.png"
        if file.exists():
            pictures.append(Picture(figure.title or figure.name, base64.b64encode(file.read_bytes()).decode()))
    statuses = pd.Series([cell.status for cell in experiment.cells]).value_counts()
    counts = ", ".join(f"{count} {status}" for status, count in statuses.items())
    question = page.question.replace("`", "")  # removes Markdown's marks
    return Chapter(experiment.name, question, counts, grids, pictures, _machines([experiment]), experiment.warnings)


def _machines(experiments: Iterable[Experiment]) -> str:
    """Return a sentence if the results come from several machines; empty otherwise."""
    return machines.sentence(cell for experiment in experiments for cell in experiment.cells).translate(_PLAIN)


def _further(experiment: Experiment, frame: pd.DataFrame) -> Iterator[Grid]:
    """Yield the further tables that the experiment's page declares."""
    for name, table in further_tables(experiment, frame):
        rows = [[_entry(value) for value in row] for row in table.itertuples(index=False)]
        yield Grid(name, [(str(column), "") for column in table.columns], rows)


def _entry(value: object) -> Entry:
    number = number_of(value)
    if math.isnan(number):
        return Entry("" if value is None or value != value else str(value), "" if value != value else str(value))
    return Entry(text.number(number), number)


def _grid(name: str, section: Section, columns: list[Column], experiment: Experiment, cell_groups: CellGroups) -> Grid:
    """Return a section as its Markdown table shows it, with links from every row to its stored cells."""
    table = tidy.text_cells(section, columns)
    rows = []
    for position, row in enumerate(section.lines):
        entries = []
        for column, cells in table.items():
            value = value_of(row, column)
            entries.append(Entry(cells[position], cells[position] if math.isnan(value) else value))
        rows.append([*entries, Entry("", links=_files(row, section, cell_groups))])
    headers = [(column, meaning(column, experiment)) for column in table]
    return Grid(name, [*headers, ("cells", "the stored cells that a row is made of")], rows, _conditions(section))


def _files(row: dict[Any, Any], section: Section, cell_groups: CellGroups) -> tuple[str, ...]:
    """Return the files of the cells that a row is made of, relative to the results folder."""
    setting = (section.case, section.device, section.dtype, section.threads)
    return tuple(
        cell.file
        for cell in cell_groups[setting, row["implementation"]]
        if cell.environment[:SHORT] == row["environment"]
        and (section.rounds == 1 or _in_groups(cell.round_group, row["round_group"]))
    )


def _in_groups(group: str | None, groups: object) -> bool:
    """Tell whether a cell's round group is among those of a row; a row over several seeds has several groups."""
    return group in groups.split(", ") if isinstance(groups, str) else group is None


def _conditions(section: Section) -> str:
    threads = "" if section.threads is None else f"{section.threads} thread{'s' * (section.threads != 1)}"
    words = text.case_in_words(section.params)
    return ", ".join(filter(None, [words, section.device, section.dtype, threads]))


def _environments(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Return a description of each environment, by its short digest."""
    descriptions: dict[str, str] = {}
    for experiment in experiments:
        for digest, environment in experiment.environments.items():
            cells = [cell for other in experiments for cell in other.cells if cell.environment == digest]
            descriptions[digest[:SHORT]] = tidy.in_words(environment, cells)
    return descriptions


def _days(experiments: Iterable[Experiment]) -> str:
    """Return the first and the last day on which something was measured."""
    days = sorted({cell.finished[:10] for experiment in experiments for cell in experiment.cells if cell.finished})
    return f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)


def _missing(experiments: Iterable[Experiment]) -> Grid:
    """Return the table of all cells that are not ok, with their reasons."""
    cells = [cell for experiment in experiments for cell in experiment.cells if not cell.ok]
    rows = [
        [Entry(t) for t in (c.experiment, c.case.name, c.implementation, c.status, c.reason)]
        + [Entry("", links=(c.file,))]
        for c in sorted(cells, key=lambda c: (c.experiment, c.status, c.implementation, text.natural(c.case.name)))
    ]
    names = ("experiment", "case", "implementation", "status", "reason", "cells")
    return Grid("What is not there, and why", [(name, "") for name in names], rows)
