"""`make faults`: what can happen to a run is made to happen, and nothing may be lost, wrong or left running."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.faults import Fault, Outcome
from tests.faults.of_children import children
from tests.faults.of_files import damaged, full_disk, older_format, read_only
from tests.faults.of_runs import clock_back, killed, stopped, two_at_once
from tests.faults.runs import undisturbed

FAULTS: dict[str, tuple[Fault, int]] = {
    "the run is killed (kill -9) at a random moment": (killed, 50),
    "Ctrl-C at a random moment": (stopped, 10),
    "two runs on one folder": (two_at_once, 5),
    "the clock goes back": (clock_back, 2),
    "the disk is full": (full_disk, 5),
    "the results folder is read-only": (read_only, 2),
    "a cell file is damaged, truncated, foreign or edited by hand": (damaged, 25),
    "cell files of an older format": (older_format, 2),
}
CHILDREN = 3  # times that each fault of a measuring process is tried


def main() -> int:
    """Print the table; 1 where something did not survive."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    found: dict[str, Outcome] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        console.print("an undisturbed run, to compare with")
        expected = undisturbed(folder / "undisturbed")
        for number, (what, (fault, times)) in enumerate(FAULTS.items()):
            console.print(f"{what}: {times} times", highlight=False)
            (folder / str(number)).mkdir()
            found[what] = fault(expected, folder / str(number), times)
        console.print(f"a measuring process misbehaves: {CHILDREN} times each", highlight=False)
        (folder / "children").mkdir()
        expected = undisturbed(folder / "training", "--seeds", "0", experiments=("training",))
        found |= {
            f"a measuring process {what}": outcome
            for what, outcome in children(expected, folder / "children", CHILDREN).items()
        }
    table = Table("fault", "tried", "survived", "cells lost", "cells wrong", "note", title="Faults")
    for what, outcome in found.items():
        counts = map(str, (outcome.tried, outcome.survived, outcome.lost, outcome.wrong))
        table.add_row(what, *counts, outcome.note, style="" if outcome.passed else "red")
    console.print(table)
    return int(not all(outcome.passed for outcome in found.values()))


if __name__ == "__main__":
    sys.exit(main())
