"""Print a summary of a results folder on a terminal."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.columns.column import REFERENCE, Column
from analysis.columns.frame import with_computed
from analysis.columns.times import Ratio
from analysis.columns.values import value_of, word_of
from analysis.page import Slopes
from analysis.statistics import study
from analysis.statistics.sections import OK, labels, sections
from analysis.store import machines
from analysis.store.cells import COMPUTES
from analysis.store.load import Experiment, MixedDigests, Unreadable, experiments_in, load
from analysis.tables import overview, slopes
from experiments.harness.records.cells import STATUSES

Frames = Mapping[str, tuple[Experiment, pd.DataFrame]]

_GAP = 2  # characters between columns
_HEADER = 12  # characters in a line of a ratio's header
_MARKS = {"same": "=", "undecided": "?"}
_MARKS_MEAN = "×: times as fast as the reference; =: the same within ±2 %; ?: undecided"


def print_summary(results: Path, console: Console, frames: Frames | None = None) -> None:
    """Print each experiment's cells by status, what failed and why, its speed-ups, and where tables and plots are.

    frames: experiments that are loaded already, with the rows of `with_computed`.
    """
    names = experiments_in(results)
    for name in names:
        try:
            experiment, frame = (frames or {}).get(name) or _load_with_frame(results, name)
        except (MixedDigests, Unreadable) as error:
            console.print(f"[bold]{escape(name)}[/]: [red]{escape(str(error))}[/]")
            continue
        _print_counts(experiment, console)
        _print_speedups(experiment, frame, console)
        for spec in (table for table in experiment.page.tables if isinstance(table, Slopes)):
            _print_slopes(slopes.frame(spec, experiment, frame), console)
    written = [folder for folder in ("tables", "plots") if any((results / folder).glob("[!.]*"))]
    if written:
        console.print(escape("  ".join(f"{folder}: {results / folder}" for folder in written)))
    if not names:
        console.print(escape(f"no results in {results}"))


def _load_with_frame(results: Path, name: str) -> tuple[Experiment, pd.DataFrame]:
    experiment = load(results, name)
    return experiment, with_computed(experiment)


def _print_counts(experiment: Experiment, console: Console) -> None:
    counts = Counter(cell.status for cell in experiment.cells)
    total = sum(counts.values())
    parts = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    noun = "cell" if total == 1 else "cells"
    summary = ": ".join(filter(None, [f"{total} {noun}", parts]))
    machines_in_words = machines.several(experiment.cells)
    summary += f"; from {machines_in_words}" if machines_in_words else ""
    console.print(f"[bold]{escape(experiment.name)}[/]: {summary}", highlight=False)
    reasons = Counter((c.status, c.implementation, " ".join(c.reason.split())) for c in experiment.cells if not c.ok)
    for (status, implementation, reason), count in sorted(reasons.items()):
        cases = f" ({count} cases)" if count > 1 else ""
        console.print(f"  {status}: {escape(implementation)}{cases}: {escape(reason)}", highlight=False)


def _print_speedups(experiment: Experiment, frame: pd.DataFrame, console: Console) -> None:
    """Print the speed-ups of each timed section, or only their ranges if there are more sections than fit a page.

    Prints nothing for experiments without ratios.
    """
    quantity = experiment.page.ratio_of
    columns = [experiment.columns[quantity], *experiment.page.ratios] if quantity else []
    columns = [column for column in columns if column.name in frame.columns]
    if len(columns) < 2:
        return
    section_list = sections(experiment, frame)
    if len(section_list) >= overview.FROM:
        ranges = overview.overview(section_list, columns, short=True)
        ranges["cases"] = [cases.partition(",")[0] for cases in ranges["cases"]]  # the other statuses are printed above
        _print_table(f"{experiment.name}: ranges over {len(section_list)} tables", ranges, console)
        return
    marked = False
    for name, section in zip(labels(section_list), section_list, strict=True):
        rows = [line for line in section.lines if line["status"] == OK and line[quantity] is not None]
        if rows:
            table = {header: [str(row[header]) for row in rows] for header in ("implementation", "computes")}
            table |= {column.short_name: [_short(row, column) for row in rows] for column in columns}
            _print_table(name, table, console)
            marked = marked or any(cell.endswith(("=", "?")) for c in columns for cell in table[c.short_name])
    if marked:
        console.print(_MARKS_MEAN, highlight=False)


def _print_slopes(slope_table: pd.DataFrame, console: Console) -> None:
    """Print the exponents of each quantity, a column per factor."""
    for quantity, quantity_slopes in slope_table.groupby("quantity", sort=False):
        for label, group in study.setups(quantity_slopes, slopes.SETUP):
            title = ", ".join(filter(None, [f"exponent p of {quantity} ~ factor^p", label]))
            _print_table(title, slopes.overview(group), console)


def _print_table(title: str, table: Mapping[str, list[str]], console: Console) -> None:
    """Print a table grouped by what is computed; columns too wide for the console continue below."""
    columns = {_header(name): cells for name, cells in table.items() if name != "computes"}
    widths = {header: max(map(cell_len, [*header.splitlines(), *cells])) for header, cells in columns.items()}
    kinds = table.get("computes", [])
    for headers in _fit_columns(widths, console.width):
        shown = Table(title=escape(title), title_justify="left", title_style="italic", box=None, pad_edge=False)
        for header in headers:
            left = header in ("implementation", "cases")
            shown.add_column(escape(header), justify="left" if left else "right")
        for position, cells in enumerate(zip(*(columns[header] for header in headers), strict=True)):
            kind = kinds[position] if kinds else ""
            if kind and kind not in kinds[:position]:
                shown.add_row(f"[dim]{escape(COMPUTES.get(kind, kind))}:[/]")
            shown.add_row(*map(escape, cells))
        console.print(shown)
        title = ""


def _fit_columns(widths: Mapping[str, int], room: int) -> list[list[str]]:
    """Split columns into parts that fit the width, each beginning with the first column.

    >>> _fit_columns({"name": 10, "a": 4, "b": 4, "c": 4}, room=23)
    [['name', 'a', 'b'], ['name', 'c']]
    """
    first, *others = widths
    parts = [[first]]
    for header in others:
        if len(parts[-1]) > 1 and sum(widths[name] + _GAP for name in parts[-1]) + widths[header] > room:
            parts.append([first])
        parts[-1].append(header)
    return parts


def _header(column: str) -> str:
    """Return a column's name for a terminal, broken into several lines if it is long.

    >>> _header("vs jax-mixed-mode, range")
    'vs jax-\\nmixed-mode'
    """
    return textwrap.fill(column.removesuffix(", range"), _HEADER, break_long_words=False)


def _short(row: Mapping[Any, object], column: Column) -> str:
    """Return a number without its interval; a ratio has a mark where its interval shows no difference."""
    value = value_of(row, column.name)
    if not isinstance(column, Ratio) or math.isnan(value):
        return column.number(value)
    verdict = word_of(row, column.verdict)
    return REFERENCE if verdict == REFERENCE else f"{column.label(value)}{_MARKS.get(verdict, ' ')}"
