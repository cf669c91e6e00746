"""`maml-bench regress`, `selfcheck`, `load` and `compare`: what came out against what should have."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from experiments.cli.measuring import measure
from experiments.cli.screen import Implementations, Results, console, print_warnings, refuse
from experiments.harness.selection import ALL, split


def regress(
    implementations: Implementations = ALL,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = Path("results"),
    expected: Annotated[
        Path | None, typer.Option(help="Default: the one beside the golden values.", metavar="FILE.csv")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Make what is found what is expected.")] = False,
) -> None:
    """Check every implementation on the golden cases, and the verdicts against the committed ones.

    The exit code is 1 for any difference, also where something is right that was not.
    """
    from collections import Counter

    from analysis.checks import regress as check
    from analysis.render import render as render_all
    from experiments.harness.request import request
    from experiments.judging.golden.files import FOLDER

    entries = split(implementations)
    file = expected or FOLDER / "expected.csv"
    try:
        committed = {} if accept and not file.exists() else check.read_expected(file)
    except check.Unusable as error:
        refuse(str(error))
        return
    with console.status("importing every implementation"):
        plan = request(
            [check.EXPERIMENT],
            entries,
            device=device,
            results=results,
            fresh=fresh,
        )
    measure(plan)
    print_warnings(render_all(results, [check.EXPERIMENT], plots=False).warnings)
    keys = {
        check.Key(name, case.name, case.dtype)
        for case, missing, there in plan.todo(check.EXPERIMENT)
        for name in (*missing, *there)
    }
    verdicts, reasons = check.read_verdicts(results, keys, plan.environment)
    compared = {
        key: verdict for key, verdict in committed.items() if ALL in entries or key.implementation in plan.files
    }
    if accept:
        check.accept(file, verdicts, {key: verdict for key, verdict in committed.items() if key not in compared})
        console.print(f"{len(verdicts)} verdicts accepted: {file}", highlight=False)
        return
    different = list(check.differences(compared, verdicts, reasons))
    print_warnings(different)
    counts = check.count_in_words(Counter(verdict.verdict for verdict in verdicts.values()))
    some = f"{len(different)} difference{'s' * (len(different) > 1)} from what is expected"
    outcome = some if different else f"{len(verdicts)} verdicts as expected"
    console.print(f"{outcome} ({counts}); table: {results / 'tables' / check.EXPERIMENT}.md", highlight=False)
    raise typer.Exit(bool(different))


def selfcheck(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
) -> None:
    """Check the timing: one implementation against itself, and against itself slowed by 5 %, 40 times.

    Takes half an hour. The exit code is 1 where differences are told that are not there, or not told where they are.
    """
    from analysis.checks import selfcheck as check
    from analysis.render import render as render_all
    from experiments.harness.request import request

    with console.status("importing every implementation"):
        plan = request([check.EXPERIMENT], device=device, results=results, fresh=fresh)
    measure(plan)
    print_warnings(render_all(results, [check.EXPERIMENT], plots=False).warnings)
    cases = [case for case, _, _ in plan.todo(check.EXPERIMENT)]
    trials = [(case.name, case.device, case.dtype, case.threads, case.seed) for case in cases]
    outcomes = check.outcomes(results, trials, plan.environment)
    print_warnings(line for outcome in outcomes for line in outcome.missing)
    console.print(check.table(outcomes))
    console.print(f"table: {results / 'tables' / check.EXPERIMENT}.md", highlight=False)
    raise typer.Exit(not all(outcome.passed for outcome in outcomes))


def load(
    implementations: Implementations = ALL,
    profile: Annotated[str, typer.Option(help="quick, or full: 100,000 cells and 50,000 iterations.")] = "quick",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
) -> None:
    """How long a large store takes to render, and whether memory grows over a long training run.

    The exit code is 1 where a limit is not kept: 30 s and 2 GiB to render; no byte of tensors and 5 MB per run.
    """
    from analysis.checks import limits as check
    from analysis.render import render as render_all
    from experiments.harness.request import request

    with console.status("importing every implementation"):
        plan = request(
            check.EXPERIMENTS,
            split(implementations),
            profile,
            device,
            results=results,
            fresh=fresh,
        )
    measure(plan)
    rendered = render_all(results, check.EXPERIMENTS)
    print_warnings(rendered.warnings)
    for experiment, frame in rendered.frames.values():
        for title, cells in check.text_tables(experiment, frame):
            table = Table(title=title, title_justify="left", box=None, pad_edge=False)
            for header in cells:
                table.add_column(header, overflow="fold")
            for row in zip(*cells.values(), strict=True):
                table.add_row(*map(escape, row))
            console.print(table)
    keys = {
        (name, (case.name, case.device, case.dtype, case.threads, case.seed), implementation)
        for name in check.EXPERIMENTS
        for case, missing, there in plan.todo(name)
        for implementation in (*missing, *there)
    }
    broken = sorted(check.problems(rendered.frames, keys, plan.environment))
    print_warnings(broken)
    outcome = f"{len(broken)} limit{'s' * (len(broken) != 1)} not kept" if broken else "all limits kept"
    console.print(f"{outcome}; tables: {results / 'tables'}", highlight=False)
    raise typer.Exit(bool(broken))


def compare(
    first: Annotated[Path, typer.Argument(help="A results folder.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Another one, which is judged.", metavar="B")],
    every: Annotated[bool, typer.Option("--all", help="Show also what stayed the same.")] = False,
) -> None:
    """Set results folder B beside A: better, worse, same, undecided, not comparable, newly failing.

    Speed-ups over the references are compared, never times of different runs. The exit code is 1 where something is
    worse or newly failing.
    """
    from analysis.checks import compare as check
    from analysis.store.load import MixedDigests, Unreadable

    for folder in (first, second):
        if not (folder / "cells").is_dir():
            refuse(f"{folder} is no results folder: it has no folder named cells")
    try:
        findings = check.compare(first, second)
    except (check.NothingToCompare, MixedDigests, Unreadable) as error:
        refuse(str(error))
        return
    table = Table("verdict", "experiment", "case", "implementation", "quantity", "A → B", box=None)
    for finding in sorted(findings, key=lambda f: check.VERDICTS.index(f.verdict)):
        if every or finding.verdict not in (check.SAME, check.UNDECIDED):
            at = (finding.experiment, finding.case, finding.implementation, finding.quantity)
            table.add_row(finding.verdict, *map(escape, (*at, finding.details)))
    if table.row_count:
        console.print(table)
    counts = check.count_verdicts(findings)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), highlight=False)
    raise typer.Exit(any(finding.verdict in check.ALARMS for finding in findings))
