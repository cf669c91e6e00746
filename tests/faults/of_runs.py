"""Faults of whole runs: killed at any moment, stopped, two at once, and a clock that goes back."""

import random
import shutil
import signal
import time
from pathlib import Path

import psutil

from tests.faults import Outcome
from tests.faults.runs import Undisturbed, finish, gone, measured, start

STOPS_WITHIN_S = 2.0
BACKWARDS = """
import sys, time
from experiments.__main__ import main
real, jumps = time.gmtime, iter(range(0, 10**9, 3600))
time.gmtime = lambda seconds=None: real(time.time() - next(jumps) if seconds is None else seconds)
sys.argv = ["maml-bench", *sys.argv[1:]]
main()
"""


def killed(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """`kill -9` of the run at random moments, each time started again; what is finished is not measured again."""
    order = random.Random(0)
    survived = lost = wrong = 0
    results = folder / "results"
    for _ in range(times):
        before = _stamps(results)
        with start(undisturbed.command(results)) as process:
            until = time.monotonic() + order.uniform(0, undisturbed.seconds)
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            family = _family(process.pid)
            process.kill()
            process.communicate()
        kept = all(_stamps(results).get(place) == stamp for place, stamp in before.items())
        survived += kept and gone(family)
        if process.returncode == 0:  # it was quicker: judge it, and begin anew
            lost, wrong = (a + b for a, b in zip((lost, wrong), undisturbed.compare(results), strict=True))
            shutil.rmtree(results)
    code, _ = finish(undisturbed.command(results))
    lost, wrong = (a + b for a, b in zip((lost, wrong), undisturbed.compare(results), strict=True))
    torn = list(results.rglob("*.part")) + list(results.rglob("*.damaged"))
    return Outcome(times, survived if code == 0 and not torn else 0, lost, wrong)


def stopped(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """Ctrl-C: it ends within two seconds, says how to go on, and does."""
    order = random.Random(1)
    survived, slowest = 0, 0.0
    results = folder / "results"
    for _ in range(times):
        shutil.rmtree(results, ignore_errors=True)
        # SIGINT as a terminal sends it, also where whoever started this has it ignored
        with start(["env", "--default-signal=INT", *undisturbed.command(results)]) as process:
            while process.poll() is None and not _stamps(results):
                time.sleep(0.01)
            time.sleep(order.uniform(0, undisturbed.seconds / 4))
            family = _family(process.pid)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate()
            slowest = max(slowest, time.monotonic() - began)
        told = process.returncode == 130 and "goes on from there" in said and "Traceback" not in said
        survived += (told or process.returncode == 0) and slowest < STOPS_WITHIN_S and gone(family)
    code, _ = finish(undisturbed.command(results))
    return Outcome(times, survived if code == 0 else 0, *undisturbed.compare(results), f"at most {slowest:.1f} s")


def two_at_once(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """Two runs on one folder: both end well, and together they measure each cell once."""
    survived = lost = wrong = 0
    for attempt in range(times):
        results = folder / str(attempt)
        runs = [start(undisturbed.command(results)) for _ in range(2)]
        said = [run.communicate()[0] for run in runs]
        cells = sum(map(measured, said))
        survived += all(run.returncode == 0 for run in runs) and cells == len(undisturbed.cells)
        lost, wrong = (a + b for a, b in zip((lost, wrong), undisturbed.compare(results), strict=True))
    return Outcome(times, survived, lost, wrong)


def clock_back(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """The clock goes back an hour between any two readings: what was measured last still counts as the newest."""
    survived = 0
    results = folder / "results"
    for attempt in range(times):
        python, _, _, *arguments = undisturbed.command(results, *(["--fresh"] if attempt else []))
        code, said = finish([python, "-c", BACKWARDS, *arguments])
        survived += code == 0 and measured(said) == len(undisturbed.cells)
    return Outcome(times, survived, *undisturbed.compare(results))


def _stamps(results: Path) -> dict[Path, int]:
    """When each cell was written."""
    found = {}
    for path in (results / "cells").glob("*/*/*.json"):
        found[path] = path.stat().st_mtime_ns
    return found


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
