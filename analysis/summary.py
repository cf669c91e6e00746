"""What a run found, on a terminal page."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import overview, slopes, study
from analysis.cells import STATUSES
from analysis.columns import with_computed
from analysis.declaration import Declaration
from analysis.load import Experiment, MixedDigests, Unreadable, experiments_in, load
from analysis.sections import OK, labels, sections, value_of
from analysis.stats import Interval
from analysis.tables import cell_text
from analysis.text import ratio


def print_summary(results: Path, console: Console) -> None:
    """Per experiment: cells by status, what is not ok and why, the speed-ups, and where tables and plots are."""
    names = experiments_in(results)
    for name in names:
        try:
            experiment = load(results, name)
        except (MixedDigests, Unreadable) as error:
            console.print(f"[bold]{escape(name)}[/]: [red]{escape(str(error))}[/]")
            continue
        frame = with_computed(experiment)
        _print_counts(experiment, console)
        _print_speedups(experiment, frame, console)
        _print_slopes(slopes.frame(experiment, frame), console)
    written = [folder for folder in ("tables", "plots") if any((results / folder).glob("[!.]*"))]
    if written:
        console.print(escape("  ".join(f"{folder}: {results / folder}" for folder in written)))
    if not names:
        console.print(escape(f"no results in {results}"))


def _print_counts(experiment: Experiment, console: Console) -> None:
    counts = Counter(cell.status for cell in experiment.cells)
    total = sum(counts.values())
    parts = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    noun = "cell" if total == 1 else "cells"
    console.print(f"[bold]{escape(experiment.name)}[/]: {total} {noun}{': ' if parts else ''}{parts}", highlight=False)
    reasons = Counter((c.status, c.implementation, " ".join(c.reason.split())) for c in experiment.cells if not c.ok)
    for (status, implementation, reason), count in sorted(reasons.items()):
        cases = f" ({count} cases)" if count > 1 else ""
        console.print(f"  {status}: {escape(implementation)}{cases}: {escape(reason)}", highlight=False)


def _print_speedups(experiment: Experiment, frame: pd.DataFrame, console: Console) -> None:
    """In the order of the tables, for each section that was timed; nothing for experiments without ratios.

    Of more sections than fit a page only the ranges.
    """
    declared = experiment.declaration
    columns = [declared.ratio_of, *(f"speedup_vs_{reference}" for reference in declared.references)]
    columns = [name for name in columns if name in frame.columns]
    if not declared.ratio_of or len(columns) < 2:
        return
    found = sections(experiment, frame)
    if len(found) >= overview.FROM:
        _print_table(f"{experiment.name}: ranges over {len(found)} tables", overview.overview(found, columns), console)
        return
    for name, section in zip(labels(found), found, strict=True):
        timed = section.rows[section.rows["status"] == OK].dropna(subset=[declared.ratio_of])
        rows: list[dict[Any, Any]] = timed.to_dict("records")
        if rows:
            table = {header: [str(row[header]) for row in rows] for header in ("implementation", "computes")}
            table |= {column: [_short(row, column, declared) for row in rows] for column in columns}
            _print_table(name, table, console)


def _print_slopes(found: pd.DataFrame, console: Console) -> None:
    """Of each quantity the exponents, a column per factor."""
    for quantity, every in found.groupby("quantity", sort=False):
        for label, own in study.setups(every):
            title = ", ".join(filter(None, [f"exponent p of {quantity} ~ factor^p", label]))
            _print_table(title, slopes.overview(own), console)


def _print_table(title: str, table: Mapping[str, list[str]], console: Console) -> None:
    shown = Table(title=escape(title), title_justify="left", title_style="italic", box=None, pad_edge=False)
    for header in table:
        named = header in ("implementation", "computes", "cases")
        words = header.replace("speedup_vs_", "vs ").removesuffix(", range")
        shown.add_column(escape(words), no_wrap=named, justify="left" if named else "right")
    for cells in zip(*table.values(), strict=True):
        shown.add_row(*map(escape, cells))
    console.print(shown)


def _short(row: Mapping[Any, object], column: str, declared: Declaration) -> str:
    """As in the tables, but ratios without their interval: the verdict says what it decides."""
    if not column.startswith("speedup_vs_"):
        return cell_text(row, column, declared)
    verdict = str(row.get(column.replace("speedup", "verdict", 1)) or "")
    return ratio(Interval(value_of(row, column), math.nan, math.nan), verdict)
