"""What a run found, on a terminal page."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.cells import STATUSES, Declaration
from analysis.columns import with_computed
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
        _print_counts(experiment, console)
        _print_speedups(experiment, console)
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


def _print_speedups(experiment: Experiment, console: Console) -> None:
    """In the order of the tables, for each section that was timed; nothing for experiments without ratios."""
    declared = experiment.declaration
    frame = with_computed(experiment)
    columns = [declared.ratio_of, *(f"speedup_vs_{reference}" for reference in declared.references)]
    columns = [name for name in columns if name in frame.columns]
    if not declared.ratio_of or len(columns) < 2:
        return
    found = sections(experiment, frame)
    for name, section in zip(labels(found), found, strict=True):
        timed = section.rows[section.rows["status"] == OK].dropna(subset=[declared.ratio_of])
        rows: list[dict[Any, Any]] = timed.to_dict("records")
        if not rows:
            continue
        table = Table(title=escape(name), title_justify="left", title_style="italic", box=None, pad_edge=False)
        for header in ("implementation", "computes"):
            table.add_column(header, no_wrap=True)
        for column in columns:
            table.add_column(escape(column.replace("speedup_vs_", "vs ")), justify="right")
        for row in rows:
            texts = [_short(row, column, declared) for column in columns]
            table.add_row(*map(escape, (row["implementation"], row["computes"], *texts)))
        console.print(table)


def _short(row: Mapping[Any, object], column: str, declared: Declaration) -> str:
    """As in the tables, but ratios without their interval: the verdict says what it decides."""
    if not column.startswith("speedup_vs_"):
        return cell_text(row, column, declared)
    verdict = str(row.get(column.replace("speedup", "verdict", 1)) or "")
    return ratio(Interval(value_of(row, column), math.nan, math.nan), verdict)
