"""Define `maml-bench audit`, the command that says what a user's own `meta_step` computes."""

import json
import math
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.harness.records.cells import finite
from experiments.harness.refusals import BadRequest

if TYPE_CHECKING:
    from experiments.audit.probes import Computes
    from experiments.audit.report import Evidence, Report

FORMATS = ("text", "json")
EXPECTED = ("maml", "fomaml", "reptile")
SIGNATURE = "meta_step(model, loss_fn, support, query, inner_lr, inner_steps)"


def audit(
    function: Annotated[str, typer.Argument(help=f"What to audit: {SIGNATURE}.", metavar="FILE.py:FUNCTION")],
    expect: Annotated[str, typer.Option(help="What it should be: maml, fomaml or reptile.")] = "maml",
    inner_steps: Annotated[
        int | None, typer.Option(help="The only number of inner steps to ask for. Default: several.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    timeout: Annotated[float, typer.Option(help="Seconds that one call may take.")] = 60.0,
    memory: Annotated[
        float | None, typer.Option(help="GiB that its processes may hold. Default: 9 tenths of what there is.")
    ] = None,
    python: Annotated[
        str,
        typer.Option(help="The interpreter to run it with. Default: this one.", metavar="PATH", show_default=False),
    ] = sys.executable,
) -> None:
    """Tell what your own meta-gradient computes and, if it is wrong, why.

    The function gets support and query as (x, y) pairs with a leading task axis, x (tasks, points, inputs), and leaves
    the mean meta-gradient in `.grad` of the model's parameters, or returns it. Exit code 0 where it is what --expect
    says, 1 where it is something else or raises in some calls, 2 where it cannot be used. It runs in a process of its
    own, which contains crashes but is no sandbox: audit only code that you would run.
    """
    from experiments.audit.report import Report
    from experiments.audit.session import Target, Unusable
    from experiments.audit.verdict import audit as examine
    from experiments.harness.processes.limits import GIB, guard

    file, name = _parse(function)
    _check_choice("--expect", expect, EXPECTED)
    expected: Computes = expect  # type: ignore[assignment]  # one of them, as was checked
    _check_choice("--format", format_, FORMATS)
    if not (timeout > 0 and math.isfinite(timeout)):
        raise BadRequest(f"--timeout {timeout:g}: it has to be a positive number of seconds")
    if inner_steps is not None and inner_steps < 1:
        raise BadRequest(f"--inner-steps {inner_steps}: it has to be a positive number of steps")
    if memory is not None and not memory > 0:
        raise BadRequest(f"--memory {memory:g}: it has to be a positive number of GiB")
    interpreter = shutil.which(python)
    if interpreter is None:
        raise BadRequest(f"--python {python}: there is no such interpreter")
    progress = Console(stderr=True)
    try:
        with progress.status("auditing") as status, guard(memory * GIB if memory else None):
            report = examine(
                Target(file.resolve(), name, timeout, interpreter),
                lambda what: status.update(f"auditing: {what}"),
                inner_steps,
            )
    except Unusable as error:
        if format_ == "json":
            _print_json(Report("unusable", (), str(error)))
        raise BadRequest(f"{function}: {error}") from None
    if format_ == "json":
        _print_json(report)
    else:
        _print_text(report, function, expected)
    raise typer.Exit(0 if report.is_expected(expected) else 1)


def _parse(text: str) -> tuple[Path, str]:
    name, colon, function = text.rpartition(":")
    if colon and "." in function:
        raise BadRequest(
            f"{text}: {function} is not the name of a function; FILE.py:FUNCTION can be audited, so write a "
            f"{SIGNATURE} that calls it"
        )
    if not colon or not function.isidentifier():
        raise BadRequest(f"{text}: it has to be FILE.py:FUNCTION")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise BadRequest(f"{text}: there is no Python file {name}")
    return path, function


def _check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BadRequest(f"{option} {value}: allowed are {', '.join(allowed)}")


def _print_json(report: "Report") -> None:
    """Print the report, with null for every infinity and NaN: JSON has no number for them."""
    print(json.dumps(finite(report.json()), indent=2, ensure_ascii=False))


def _print_text(report: "Report", function: str, expect: "Computes") -> None:
    """Print the verdict, the mistakes that explain it, notes, and a table of errors."""
    from experiments.audit.report import VERDICTS

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    fulfilled = report.is_expected(expect)
    colour = "green" if fulfilled else "red"
    console.print(f"{escape(function)}: [bold {colour}]{report.verdict}[/]", soft_wrap=True)
    if not fulfilled:
        console.print(f"expected: {VERDICTS[expect]}")
    for finding in report.findings:
        console.print(f"  [bold]{finding.identifier}[/]: {escape(finding.text)}")
    for note in report.notes:
        console.print(f"  note, [bold]{note.identifier}[/]: {escape(note.text)}")
    _print_errors(console, report.evidence)


def _print_errors(console: Console, evidence: "Evidence") -> None:
    from experiments.audit.report import VERDICTS

    probes, versions = evidence.tolerances, evidence.versions
    if not probes:
        return
    alone = ", each in a fresh process" if evidence.fresh_processes else ""
    where = f"torch {versions['torch']}, Python {versions['python']}"
    title = f"{len(probes)} probes in {evidence.precision}{alone}, {where}"
    table = Table("compared with", "relative error: lowest", "median", "highest", "beyond its tolerance", title=title)
    for computes, by_probe in evidence.errors.items():
        lowest, *_, highest = errors = sorted(by_probe.values())
        beyond = sum(by_probe[name] > probes[name] for name in probes)
        numbers = (f"{value:.2g}" if value <= 1 else "over 1" for value in (lowest, median(errors), highest))
        table.add_row(VERDICTS[computes], *numbers, f"{beyond} of {len(probes)}")
    console.print(table)
