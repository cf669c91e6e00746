"""Runs of a few cells as a user starts them, and whether two results folders hold the same."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

EXPERIMENTS = ("create_graph", "metagradient", "training")
IMPLEMENTATIONS = ("unrolled", "fomaml")
DIFFERENT = ("finished", "environment", "digest")  # of a cell, from one run of the same to the next
PATIENCE_S = 600.0
Cells = dict[str, dict[str, Any]]


def command(results: Path, *more: str, experiments: Sequence[str] = EXPERIMENTS) -> list[str]:
    """The command line of a run."""
    run = [sys.executable, "-m", "experiments", "run", *experiments, "--device", "cpu", "--results", str(results)]
    return [*run, "--implementations", ",".join(IMPLEMENTATIONS), *more]


def start(arguments: Sequence[str], **settings: str) -> "subprocess.Popen[str]":
    """Start it with its output kept; `settings` of its environment besides."""
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | settings
    )


def finish(arguments: Sequence[str], **settings: str) -> tuple[int, str]:
    """Run it to its end: exit code and what it said."""
    with start(arguments, **settings) as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def cells(results: Path) -> Cells:
    """Every cell that can be read, by its place, without what differs between runs of the same."""
    found = {}
    for path in sorted((results / "cells").glob("*/*/*.json")):
        try:
            cell = json.loads(path.read_text())
        except ValueError:
            continue
        for row in cell["rows"]:
            row.pop("resumed_at", None)  # where a training went on from its checkpoint
        found[str(path.relative_to(results))] = {name: cell[name] for name in cell if name not in DIFFERENT}
    return found


def compare(expected: Cells, found: Cells) -> tuple[int, int]:
    """How many cells of an undisturbed run are missing, and how many differ, bit for bit, or are more than there."""
    lost = expected.keys() - found.keys()
    more = found.keys() - expected.keys()
    return len(lost), len(more) + sum(found[place] != expected[place] for place in expected.keys() & found.keys())


@dataclass(frozen=True)
class Undisturbed:
    """What a run comes to where nothing happens to it.

    options: that it was started with; seconds: that it took.
    """

    cells: Cells
    seconds: float
    options: tuple[str, ...] = ()
    experiments: tuple[str, ...] = EXPERIMENTS

    def command(self, results: Path, *more: str) -> list[str]:
        """The same run in another folder."""
        return command(results, *self.options, *more, experiments=self.experiments)

    def compare(self, results: Path) -> tuple[int, int]:
        """Cells lost and cells wrong in a folder."""
        return compare(self.cells, cells(results))


def undisturbed(folder: Path, *options: str, experiments: tuple[str, ...] = EXPERIMENTS) -> Undisturbed:
    """Run it."""
    began = time.monotonic()
    code, said = finish(command(folder, *options, experiments=experiments))
    assert code == 0, said
    return Undisturbed(cells(folder), time.monotonic() - began, options, experiments)


def measured(said: str) -> int:
    """How many cells a run says that it has measured."""
    counts = said.rpartition("measured now:")[2].split()
    return sum(int(word) for word in counts if word.isdigit())


def gone(processes: Sequence[psutil.Process], within: float = 5.0) -> bool:
    """Whether none of them runs any more."""
    psutil.wait_procs(list(processes), timeout=within)
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
