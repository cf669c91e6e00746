"""What the commands share: their options, the console, warnings, refusals and the progress bar."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(width=None if sys.stdout.isatty() else 110)  # where there is no terminal to fit
Results = Annotated[Path, typer.Option("--results", help="The results folder.", metavar="DIR")]
Implementations = Annotated[
    str,
    typer.Option(
        "--implementations",
        help="Names and files of your own, which end in .py, separated by commas; nothing else is measured. "
        "all,mine.py: all built-in ones, and yours.",
        metavar="NAME,FILE.py,...",
    ),
]


def refuse(message: str, code: int = 2) -> None:
    """One clear line on standard error, and the exit code."""
    Console(stderr=True, soft_wrap=True).print(f"maml-bench: {message}", style="red", markup=False, highlight=False)
    raise SystemExit(code)


def print_warnings(lines: Iterable[str]) -> None:
    """A line each."""
    for line in lines:
        console.print(line, style="yellow", markup=False, highlight=False)


@contextmanager
def progress(label: str, cells: int) -> Iterator[Callable[[float], None]]:
    """A progress bar with the time left, or one line where the output is no terminal."""
    if not cells:
        yield lambda done: None
        return
    if not console.is_terminal:
        console.print(f"{label}: measuring {cells} cell{'s' * (cells > 1)}", highlight=False)
        yield lambda done: None
        return
    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"))
    # redrawn twice a second only: drawing costs processor time beside what is measured
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, refresh_per_second=2) as bar:
        task = bar.add_task(label, total=cells)
        yield lambda done: bar.advance(task, done)
