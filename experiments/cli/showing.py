"""`maml-bench render`, `report` and `show`: what is stored, for people."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.screen import Results, console, print_warnings, refuse

NAMED = re.compile(r"\.[^.]+(\.\d{8}T\d+)?\.json$")
"""What follows an implementation, which may have dots, in a cell's name: its key, and its round group."""


def render(
    experiments: Annotated[list[str] | None, typer.Argument(help="Default: all that are in the store.")] = None,
    results: Results = Path("results"),
    plots: Annotated[bool, typer.Option(help="Whether to draw plots too.")] = True,
) -> None:
    """Render tables and plots of what is stored, and print a summary. Measures nothing."""
    from analysis.render import NothingToRender, without_collector
    from analysis.render import render as render_all
    from analysis.store.load import MixedDigests
    from analysis.tables.summary import print_summary

    with without_collector():
        try:
            with console.status("rendering tables and plots"):
                rendered = render_all(results, experiments, plots)
        except (MixedDigests, NothingToRender) as error:
            refuse(str(error))
            return
        print_warnings(rendered.warnings)
        print_summary(results, console, rendered.frames)


def report(results: Results = Path("results")) -> None:
    """Write report.html: the answer, what was run, tables and plots on one page that needs no network."""
    from analysis.render import NothingToRender, without_collector
    from analysis.report import report as write_report
    from analysis.store.load import MixedDigests

    try:
        with without_collector(), console.status("rendering tables, plots and the report"):
            file, rendered = write_report(results)
    except (MixedDigests, NothingToRender) as error:
        refuse(str(error))
        return
    print_warnings(rendered.warnings)
    console.print(f"report: {file}", highlight=False)


def show(
    cell: Annotated[str, typer.Argument(help="EXPERIMENT/CASE/IMPLEMENTATION, or enough of it to be unique.")],
    results: Results = Path("results"),
) -> None:
    """Print everything that is stored of one cell, as JSON."""
    folder = results / "cells"
    cells = {str(p.relative_to(folder)): p for p in sorted(folder.glob("*/*/*.json"))}
    exact = [name for name in cells if NAMED.sub("", name.rpartition("/")[2]) == cell.rpartition("/")[2]]
    matches = [n for n in exact if n.startswith(cell.rpartition("/")[0])] or [n for n in cells if cell in n]
    if len(matches) != 1:
        some = "; ".join(sorted(matches or cells)[:5]) or "there are none yet"
        refuse(f"'{cell}' is {'no cell' if not matches else f'one of {len(matches)} cells'} in {results}: {some}")
    print(json.dumps(json.loads(cells[matches[0]].read_text()), indent=2, ensure_ascii=False))
