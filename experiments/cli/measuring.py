"""`maml-bench list` and `run`: what there is, and measuring it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.screen import Implementations, Results, console, print_warnings, progress
from experiments.harness.refusals import BadRequest
from experiments.harness.selection import ALL, is_file, split

if TYPE_CHECKING:
    from experiments.harness.executor import Executor
    from experiments.harness.run import Plan


def list_() -> None:
    """List implementations and experiments.

    With library versions, and what is not available and why.
    """
    import baselines
    from experiments.harness import experiment
    from experiments.harness.processes import isolate

    files = {name: str(path) for name, path in baselines.names().items()}
    with console.status("importing every implementation"):
        machine = isolate.describe("auto", files)
    table = Table("implementation", "computes", "library", "available", title="Implementations")
    for name, about in machine.implementations.items():
        library = f"{about.library} {about.version}".strip() or "own code"
        table.add_row(name, about.computes or "?", library if about.computes else "?", about.lacking or "yes")
    console.print(table)
    table = Table("experiment", "question", title="Experiments")
    for name in experiment.names():
        on_request = "" if experiment.load(name).by_default else " (on request only)"
        table.add_row(name, experiment.question(name) + on_request)
    console.print(table)
    environment = machine.environment
    versions = f"PyTorch {environment.torch}, Python {environment.python}"
    console.print(f"{versions}, {machine.device}: {environment.device_model}", highlight=False)


def run(
    context: typer.Context,
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Default: all but those that `list` shows as on request only.")
    ] = None,
    implementations: Implementations = ALL,
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
    memory: Annotated[
        float | None,
        typer.Option(help="GiB that all measuring processes together may hold. Default: 9 tenths of what there is."),
    ] = None,
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be measured.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="A module of your own, (points, 1) to (points, 1), for the built-in networks.",
            metavar="FILE.py:FACTORY",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Of Dask, whose workers measure; see docs/cluster.md.", metavar="tcp://HOST:PORT"),
    ] = None,
) -> None:
    """Measure what is not measured yet. Nothing that is finished is lost or measured twice."""
    from experiments.harness.request import request

    try:
        numbers = [int(part) for part in split(seeds)]
    except ValueError:
        raise BadRequest(f"--seeds {seeds}: whole numbers separated by commas are allowed") from None
    if any(number < 0 for number in numbers):
        raise BadRequest(f"--seeds {seeds}: they have to be 0 or more")
    entries = split(implementations)
    if scheduler is not None and (model or any(map(is_file, entries))):
        raise BadRequest("--scheduler: workers have neither files of your own nor a --model; run these here")
    with chosen(scheduler, context.obj) as executor:
        with console.status("importing every implementation"):
            plan = request(
                experiments or [],
                entries,
                profile=profile,
                device=device,
                seeds=numbers or None,
                threads=threads,
                timeout=timeout,
                memory=memory,
                results=results,
                fresh=fresh,
                model=model,
                cases=split(cases),
                executor=executor,
            )
        if dry_run:
            print_todo(plan)
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


@contextmanager
def chosen(scheduler: str | None, ranks: "Executor | None") -> Iterator["Executor | None"]:
    """Choose who measures: a scheduler's workers, the ranks that torchrun has started, or None, this machine."""
    if scheduler is None:
        yield ranks
        return
    if ranks is not None:
        raise BadRequest("--scheduler: torchrun has given this run its ranks already; use one of the two")
    try:
        from experiments.harness.distributed.dask_client import connected
    except ImportError as error:
        raise BadRequest(f"--scheduler needs dask.distributed, which `make setup` installs: {error}") from None
    with connected(scheduler) as cluster:
        yield cluster


def print_todo(plan: "Plan") -> None:
    """What would be measured, a line for each case."""
    for name in plan.experiments:
        for case, missing, there in plan.todo(name):
            to_measure, done = (", ".join(names) or "nothing" for names in (missing, there))
            print(f"{name}/{case.folder}: to measure: {to_measure}; there already: {done}")
    print_warnings(plan.store.warnings)


def measure(plan: "Plan") -> None:
    """Run a plan under a progress bar; stopped by Ctrl-C, what is finished is kept."""
    known = plan.machine.implementations
    print_warnings(f"{name} is unavailable: {known[name].lacking}" for name in known if known[name].lacking)
    try:
        plan.run(progress, lambda line: console.print(line, style="yellow", markup=False, highlight=False))
    except KeyboardInterrupt:
        console.print("stopped; what is finished is kept, and the same command goes on from there", style="yellow")
        raise typer.Exit(130) from None
    finally:
        print_warnings(plan.store.warnings)
