"""`maml-bench`, all its commands: the only file that knows both experiments and analysis."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.audit.command import audit

if TYPE_CHECKING:
    from experiments.harness.run import Plan

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Is this second-order MAML right, and what does it cost?",
)
app.command("audit", short_help="What a meta-gradient of your own is, and if wrong, why.")(audit)
console = Console(width=None if sys.stdout.isatty() else 110)  # where there is no terminal to fit
ON_REQUEST = "overhead, regress and selfcheck"  # asking the experiments would import PyTorch for every --help
Results = Annotated[Path, typer.Option("--results", help="The results folder.", metavar="DIR")]
Baseline = Annotated[
    list[Path] | None,
    typer.Option(help="A file with an implementation of your own; may be repeated.", metavar="FILE.py"),
]


def main() -> None:
    """Entry point: every refusal is one line and exit code 2."""
    from experiments.harness.request import BadRequest
    from experiments.harness.store import NotWritable

    try:
        app()
    except (BadRequest, NotWritable) as error:
        refuse(str(error))


def refuse(message: str) -> None:
    """One clear line on standard error, exit code 2."""
    Console(stderr=True, soft_wrap=True).print(f"maml-bench: {message}", style="red", markup=False, highlight=False)
    raise SystemExit(2)


def listed(text: str) -> list[str]:
    """The parts of "a, b"."""
    return [part.strip() for part in text.split(",") if part.strip()]


@app.command("list")
def list_() -> None:
    """Implementations and experiments.

    With library versions, and what is not available and why.
    """
    import baselines
    from experiments.harness import experiment, isolate

    files = {name: str(path) for name, path in baselines.names().items()}
    with console.status("importing every implementation"):
        known = isolate.describe("auto", files)
    table = Table("implementation", "computes", "library", "available", title="Implementations")
    for name, about in known["implementations"].items():
        library = f"{about['library']} {about['version']}".strip() or "own code"
        table.add_row(name, about["computes"] or "?", library if about["computes"] else "?", about["problem"] or "yes")
    console.print(table)
    table = Table("experiment", "question", title="Experiments")
    for name in experiment.names():
        on_request = "" if experiment.load(name).by_default else " (on request only)"
        table.add_row(name, experiment.question(name) + on_request)
    console.print(table)
    environment = known["environment"]
    console.print(
        f"PyTorch {environment['torch']}, Python {environment['python']}, {known['device']}: "
        f"{environment['device_model']}",
        highlight=False,
    )


@app.command()
def run(
    experiments: Annotated[list[str] | None, typer.Argument(help=f"Default: all but {ON_REQUEST}.")] = None,
    implementations: Annotated[str, typer.Option(help="Names, separated by commas. Default: all.")] = "",
    cases: Annotated[
        str, typer.Option(help="Names, separated by commas, * for any part of one. Default: all of the profile.")
    ] = "",
    profile: Annotated[str, typer.Option(help="quick or full (paper lengths).")] = "quick",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seeds: Annotated[
        str,
        typer.Option(help="Numbers, separated by commas; cost takes the first only. Default: each experiment's own."),
    ] = "",
    threads: Annotated[int, typer.Option(help="Threads (and cores) of each measuring process.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds of work that a process may take for a cell. Default: 4 hours.")
    ] = None,
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be measured.")] = False,
    baseline: Baseline = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A module of your own, (points, 1) to (points, 1), for the built-in networks.",
            metavar="FILE.py:FACTORY",
        ),
    ] = None,
) -> None:
    """Measure what is not measured yet. Nothing that is finished is lost or measured twice."""
    from experiments.harness.request import BadRequest, request

    try:
        numbers = [int(part) for part in listed(seeds)]
    except ValueError:
        raise BadRequest(f"--seeds {seeds}: whole numbers separated by commas are allowed") from None
    if any(number < 0 for number in numbers):
        raise BadRequest(f"--seeds {seeds}: they have to be 0 or more")
    with console.status("importing every implementation"):
        plan = request(
            experiments or [],
            listed(implementations),
            profile,
            device,
            numbers or None,
            threads,
            timeout,
            results,
            fresh,
            baseline or [],
            model,
            listed(cases),
        )
    if dry_run:
        for name in plan.experiments:
            for case, missing, there in plan.todo(name):
                wanted, done = (", ".join(names) or "nothing" for names in (missing, there))
                print(f"{name}/{case.id}: to measure: {wanted}; there already: {done}")
        print_warnings(plan.store.warnings)
        return
    measure(plan)
    if outdated := plan.outdated():
        print_warnings(
            [
                "measured before sources were changed, not part of this run, and still in the tables unless you "
                f"remove them: {', '.join(outdated)}"
            ]
        )
    counts = ", ".join(f"{count} {status}" for status, count in sorted(plan.statuses.items()))
    console.print(f"measured now: {counts or 'nothing, all of it was there'}", highlight=False)


def measure(plan: "Plan") -> None:
    """Run a plan under a progress bar; stopped by Ctrl-C, what is finished is kept."""
    known = plan.description["implementations"]
    print_warnings(f"{name} is unavailable: {known[name]['problem']}" for name in known if known[name]["problem"])
    try:
        plan.run(progress)
    except KeyboardInterrupt:
        console.print("stopped; what is finished is kept, and the same command goes on from there", style="yellow")
        raise typer.Exit(130) from None
    finally:
        print_warnings(plan.store.warnings)


@app.command(short_help="Check every implementation against the golden values.")
def regress(
    implementations: Annotated[str, typer.Option(help="Names, separated by commas. Default: all.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = Path("results"),
    expected: Annotated[
        Path | None, typer.Option(help="Default: the one beside the golden values.", metavar="FILE.csv")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Make what is found what is expected.")] = False,
    baseline: Baseline = None,
) -> None:
    """Check every implementation on the golden cases, and the verdicts against the committed ones.

    The exit code is 1 for any difference, also where something is right that was not.
    """
    from collections import Counter

    from analysis import regress as check
    from analysis.render import render as render_all
    from experiments.golden.files import FOLDER
    from experiments.harness.request import request

    wanted = listed(implementations)
    file = expected or FOLDER / "expected.csv"
    try:
        known = {} if accept and not file.exists() else check.expected(file)
    except check.Unusable as error:
        refuse(str(error))
        return
    with console.status("importing every implementation"):
        plan = request(
            [check.EXPERIMENT],
            wanted,
            device=device,
            results=results,
            fresh=fresh,
            baseline_files=baseline or [],
        )
    measure(plan)
    print_warnings(render_all(results, [check.EXPERIMENT], plots=False).warnings)
    keys = {
        check.Key(name, case.name, case.dtype)
        for case, missing, there in plan.todo(check.EXPERIMENT)
        for name in (*missing, *there)
    }
    found, reasons = check.measured(results, keys, plan.environment)
    asked = {key: verdict for key, verdict in known.items() if not wanted or key.implementation in plan.files}
    if accept:
        check.accept(file, found, {key: verdict for key, verdict in known.items() if key not in asked})
        console.print(f"{len(found)} verdicts accepted: {file}", highlight=False)
        return
    different = list(check.differences(asked, found, reasons))
    print_warnings(different)
    counts = check.counted(Counter(verdict.verdict for verdict in found.values()))
    some = f"{len(different)} difference{'s' * (len(different) > 1)} from what is expected"
    said = some if different else f"{len(found)} verdicts as expected"
    console.print(f"{said} ({counts}); table: {results / 'tables' / check.EXPERIMENT}.md", highlight=False)
    raise typer.Exit(bool(different))


@app.command(short_help="Check the timing against known differences.")
def selfcheck(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
) -> None:
    """Check the timing: one implementation against itself, and against itself slowed by 5 %, 40 times.

    Takes half an hour. The exit code is 1 where differences are told that are not there, or not told where they are.
    """
    from analysis import selfcheck as check
    from analysis.render import render as render_all
    from experiments.harness.request import request

    with console.status("importing every implementation"):
        plan = request([check.EXPERIMENT], device=device, results=results, fresh=fresh)
    measure(plan)
    print_warnings(render_all(results, [check.EXPERIMENT], plots=False).warnings)
    cases = [case for case, _, _ in plan.todo(check.EXPERIMENT)]
    trials = [(case.name, case.device, case.dtype, case.threads, case.seed) for case in cases]
    found = check.outcomes(results, trials, plan.environment)
    print_warnings(line for outcome in found for line in outcome.missing)
    console.print(check.table(found))
    console.print(f"table: {results / 'tables' / check.EXPERIMENT}.md", highlight=False)
    raise typer.Exit(not all(outcome.passed for outcome in found))


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


@app.command()
def render(
    experiments: Annotated[list[str] | None, typer.Argument(help="Default: all that are in the store.")] = None,
    results: Results = Path("results"),
    plots: Annotated[bool, typer.Option(help="Whether to draw plots too.")] = True,
) -> None:
    """Tables and plots from what is stored, and a short summary. Measures nothing."""
    from analysis.load import MixedDigests
    from analysis.render import NothingToRender
    from analysis.render import render as render_all
    from analysis.summary import print_summary

    try:
        with console.status("rendering tables and plots"):
            rendered = render_all(results, experiments, plots)
    except (MixedDigests, NothingToRender) as error:
        refuse(str(error))
        return
    print_warnings(rendered.warnings)
    print_summary(results, console)


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="EXPERIMENT/CASE/IMPLEMENTATION, or enough of it to be unique.")],
    results: Results = Path("results"),
) -> None:
    """Everything that is stored of one cell, as JSON."""
    folder = results / "cells"
    cells = {str(p.relative_to(folder)): p for p in sorted(folder.glob("*/*/*.json"))}
    exact = [name for name in cells if name.rpartition("/")[2].split(".")[0] == cell.rpartition("/")[2]]
    found = [n for n in exact if n.startswith(cell.rpartition("/")[0])] or [n for n in cells if cell in n]
    if len(found) != 1:
        some = "; ".join(sorted(found or cells)[:5]) or "there are none yet"
        refuse(f"'{cell}' is {'no cell' if not found else f'one of {len(found)} cells'} in {results}: {some}")
    print(json.dumps(json.loads(cells[found[0]].read_text()), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
