"""`make mutants`: is every mistake caught and named rightly, and nothing that is right accused?"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, NamedTuple

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments.audit.probes import Computes
from experiments.audit.report import VERDICTS, Report
from experiments.audit.session import Target, Unusable
from experiments.audit.verdict import audit
from tests.mutants import Mutant, mutants, right_ones, unusable_ones
from tests.mutants.adapter import regressed
from tests.mutants.random_models import DRAWS, Draw, Rejected, accusation

RANDOM_MODELS = 200
TIMEOUT_S = 60.0
HANGING_S = 5.0
WORKERS = 2
LINE_EVERY = 20  # where there is no terminal for a bar
FORWARD = {"forward_over_reverse", "whole_matrices"}
"""Not judged on random models, since torch has no forward derivatives of the squared error."""
SOME = {"single-precision", "finite-differences", "steps-restricted", "gradients-returned"}
"""Notes of functions that are not, either: right to less than the last digits, for one inner step only, or returned."""
BREAKS = "breaks-contract"
"""In the place of a note: an implementation must not do that, while a user may."""


class Outcome(NamedTuple):
    """regress: how the check caught it, if it did; diagnosis: the audit's; problem: what is not as it should be."""

    mutant: Mutant
    regress: str
    diagnosis: tuple[str, ...]
    problem: str


def audited(mutant: Mutant) -> Report:
    """The audit's report, for one inner step where it takes no more."""
    return audit(
        Target(mutant.file, mutant.function, TIMEOUT_S), steps=1 if "steps-restricted" in mutant.notes else None
    )


def is_exact(mutant: Mutant) -> bool:
    """Whether a right function is so to the last digits, for any number of steps and with any loss."""
    return mutant.function not in FORWARD and not SOME & set(mutant.notes)


def of_mutant(mutant: Mutant) -> Outcome:
    """A wrong function: both checks have to catch it, and the audit has to name it."""
    _quiet()
    caught = regressed(mutant)
    report = audited(mutant)
    problem = "" if caught or "raises" in mutant.expected else "regress did not catch it"
    if set(report.diagnosis) != set(mutant.expected):
        problem = f"named {', '.join(report.diagnosis) or 'right'}: {report.explanation}"
    return Outcome(mutant, caught, report.diagnosis, problem)


def of_right(mutant: Mutant) -> Outcome:
    """A right function: none of the checks may accuse it, and the notes have to be those expected."""
    _quiet()
    computes = _computes(mutant)
    report = audited(mutant)
    wrongly = regressed(mutant, computes) if is_exact(mutant) else ""
    notes, expected = {note.identifier for note in report.notes}, set(mutant.notes) - {BREAKS}
    problem = f"regress accused it on {wrongly}" if wrongly else ""
    if BREAKS in mutant.notes:
        problem, wrongly = ("" if wrongly else "regress did not see that it breaks the contract"), ""
    if report.verdict != VERDICTS[computes]:
        problem = f"the audit called it {report.verdict}: {report.explanation}"
    elif missing := expected - notes:
        problem = f"no note {', '.join(missing)}"
    elif unasked := notes - expected - {"refused"}:
        problem = f"an unexpected note {', '.join(unasked)}"
    return Outcome(mutant, wrongly, report.diagnosis, problem)


def of_unusable(mutant: Mutant) -> Outcome:
    """A function that cannot be audited: it has to be refused, in one line."""
    _quiet()
    try:
        report = audit(Target(mutant.file, mutant.function, HANGING_S))
    except Unusable as error:
        return Outcome(mutant, "", (), "" if "\n" not in str(error) else f"more than one line: {error}")
    return Outcome(mutant, "", report.diagnosis, f"it was audited: {report.verdict}")


def guarded(function: Callable[[Mutant], Outcome], mutant: Mutant) -> Outcome:
    """What became of it, also where the checker itself fails."""
    try:
        return function(mutant)
    except Exception as error:
        return Outcome(mutant, "", (), f"the checker raised {type(error).__name__}: {error}")


def of_random_models(count: int) -> tuple[int, list[str]]:
    """The number of random models on which a right function was judged, and every accusation."""
    _quiet()
    judged, accusations = 0, []
    subjects = [m for m in right_ones() if is_exact(m) and BREAKS not in m.notes]

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(subjects), DRAWS)
    def judge(mutant: Mutant, draw: Draw) -> None:
        nonlocal judged
        try:
            said = accusation(mutant, _computes(mutant), draw)
        except Rejected:
            assume(False)
        judged += 1
        if said:
            accusations.append(f"{mutant.name} on {draw}: {said}")

    try:
        judge()
    except Exception as error:
        accusations.append(f"random models: the checker raised {type(error).__name__}: {error}")
    return judged, accusations


def main() -> int:
    """Run everything, show tables, and return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    work: list[tuple[Callable[[Mutant], Outcome], Mutant]] = [
        *((of_mutant, m) for m in mutants()),
        *((of_right, m) for m in right_ones()),
        *((of_unusable, m) for m in unusable_ones()),
    ]
    outcomes: dict[Callable[..., Any], list[Outcome]] = {of_mutant: [], of_right: [], of_unusable: []}
    steps = len(work) + 1
    with ProcessPoolExecutor(WORKERS) as pool, Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("mutants", total=steps)
        random = pool.submit(of_random_models, RANDOM_MODELS)
        futures = {pool.submit(guarded, function, mutant): function for function, mutant in work}
        for done, future in enumerate(as_completed([*futures, random]), 1):
            bar.advance(task)
            if not console.is_terminal and done % LINE_EVERY == 0:
                console.print(f"{done} of {steps}")
            if future is not random:
                outcomes[futures[future]].append(future.result())  # type: ignore[arg-type, index]
        judged, accusations = random.result()
    console.print(_table(outcomes[of_mutant]))
    wrong = [o for group in outcomes.values() for o in group if o.problem]
    for outcome in sorted(wrong):
        console.print(f"{outcome.mutant.name} [{', '.join(outcome.mutant.expected)}]: {outcome.problem}", markup=False)
    for accusation_ in accusations:
        console.print(accusation_, markup=False)
    found = outcomes[of_mutant]
    false = sum(bool(o.problem) for o in outcomes[of_right]) + len(accusations)
    console.print(
        f"{len(found)} mutants: {sum(bool(o.regress) for o in found)} caught by regress, "
        f"{sum(bool(o.diagnosis) for o in found)} by the audit, {sum(not o.problem for o in found)} caught and named "
        f"rightly; false alarms on {len(outcomes[of_right])} right functions and {judged} random models: {false}; "
        f"{sum(not o.problem for o in outcomes[of_unusable])} of {len(outcomes[of_unusable])} unusable ones refused"
    )
    return 1 if wrong or accusations else 0


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("expected diagnosis", "mutants", "caught by regress", "caught by audit", "named rightly")

    def rows() -> Iterator[tuple[str, Counter[str]]]:
        for name in sorted({" + ".join(o.mutant.expected) for o in outcomes}):
            group = [o for o in outcomes if " + ".join(o.mutant.expected) == name]
            named = sum(set(o.diagnosis) == set(o.mutant.expected) for o in group)
            counts = {"regress": sum(bool(o.regress) for o in group), "audit": sum(bool(o.diagnosis) for o in group)}
            yield name, Counter(all=len(group), named=named, **counts)

    for name, counts in rows():
        table.add_row(name, *(str(counts[key]) for key in ("all", "regress", "audit", "named")))
    return table


def _computes(mutant: Mutant) -> Computes:
    (computes,) = mutant.expected
    return computes  # type: ignore[return-value]


def _quiet() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what mutants are warned of is no news


if __name__ == "__main__":
    sys.exit(main())
