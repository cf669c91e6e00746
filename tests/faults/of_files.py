"""Faults of what is stored: a full disk, a folder that cannot be written, and files that are not what was written."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.faults import Outcome
from tests.faults.runs import Undisturbed, finish, measured

KIB = (40, 200)  # of the disks that are too small
# a disk of its own, which only what this starts can see; it is made larger, or writable again, for the second run
SMALL_DISK = """
mount -t tmpfs -o size=$1k none "$2" || exit 99
shift 2; kept=$1; shift
"$@" > "$kept/said" 2>&1; echo $? > "$kept/code"
mount -o remount,size=1g "$0" || exit 99
"$@" > "$kept/again" 2>&1; echo $? > "$kept/code-again"
cp -R "$0/results" "$kept/"
"""


def full_disk(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """The disk is full in the middle: one line and exit code 2; with room, the same command goes on."""
    if why := cannot_mount():
        return Outcome(0, 0, note=why)
    order = random.Random(2)
    survived = lost = wrong = 0
    for attempt in range(times):
        disk, kept = folder / f"disk{attempt}", folder / f"kept{attempt}"
        disk.mkdir()
        kept.mkdir()
        run = undisturbed.command(disk / "results")
        size = str(order.randint(*KIB))
        inside = ["sh", "-c", SMALL_DISK, str(disk), size, str(disk), str(kept), *run]
        subprocess.run(["unshare", "--user", "--map-root-user", "--mount", *inside], check=True)
        said = (kept / "said").read_text()
        told = "No space left on device" in said and "goes on from there" in said and "Traceback" not in said
        codes = (kept / "code").read_text().strip(), (kept / "code-again").read_text().strip()
        survived += told and codes == ("2", "0")
        lost, wrong = (a + b for a, b in zip((lost, wrong), undisturbed.compare(kept / "results"), strict=True))
    return Outcome(times, survived, lost, wrong)


def cannot_mount() -> str:
    """Why no disk of one's own can be mounted here; empty where it can."""
    if not shutil.which("unshare"):
        return "not tried: there is no unshare"
    inside = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    if subprocess.run(inside, capture_output=True, check=False).returncode:
        return "not tried: the system lets nobody mount here"
    return ""


def read_only(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """A results folder that cannot be written: one line that names it and exit code 2, before anything is measured."""
    survived = 0
    for _ in range(times):
        results = Path("/proc/results")  # where not even root may write
        code, said = finish(undisturbed.command(results))
        survived += code == 2 and len(said.strip().splitlines()) == 1 and str(results) in said
    return Outcome(times, survived)


def _truncated(text: str, order: random.Random) -> str:
    return text[: order.randrange(len(text))]


def _flipped(text: str, order: random.Random) -> str:
    at = order.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


def _by_hand(text: str, order: random.Random) -> str:
    """A digit of a number that was measured is another."""
    digits = [i for i, letter in enumerate(text) if letter.isdigit() and text[i - 1] == "."]
    at = order.choice(digits)
    return text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]


def _foreign(text: str, order: random.Random) -> str:
    return json.dumps(order.choice([[], {}, {"format": 99}, json.loads(text) | {"format": 99}, "cell"]))


def _empty(text: str, order: random.Random) -> str:
    return order.choice(["", "\0" * len(text)])


DAMAGES: dict[str, Callable[[str, random.Random], str]] = {
    "truncated": _truncated,
    "a bit flipped": _flipped,
    "a number edited by hand": _by_hand,
    "foreign": _foreign,
    "empty or zeros": _empty,
}


def damaged(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """Cell files that are not as they were written: each is set aside with a line, and measured again."""
    order = random.Random(3)
    results = folder / "results"
    finish(undisturbed.command(results))
    survived = 0
    for attempt in range(times):
        path = order.choice(sorted((results / "cells").glob("*/*/*.json")))
        change = list(DAMAGES.values())[attempt % len(DAMAGES)]
        path.write_text(change(path.read_text(), order))
        code, said = finish(undisturbed.command(results))
        told = f"set aside as {path.relative_to(results).with_suffix('.damaged')}" in " ".join(said.split())
        survived += code == 0 and told and measured(said) == 1
        path.with_suffix(".damaged").unlink(missing_ok=True)
    return Outcome(times, survived, *undisturbed.compare(results))


def older_format(undisturbed: Undisturbed, folder: Path, times: int) -> Outcome:
    """Cell files of the row format before this one, without a digest: read as they are."""
    results = folder / "results"
    finish(undisturbed.command(results))
    survived = 0
    for _ in range(times):
        for path in (results / "cells").glob("*/*/*.json"):
            cell = json.loads(path.read_text())
            cell.pop("digest", None)
            path.write_text(json.dumps(cell | {"format": 1}))
        code, said = finish(undisturbed.command(results))
        survived += code == 0 and "nothing, all of it was there" in said
    lost, _ = undisturbed.compare(results)  # their format is another
    return Outcome(times, survived, lost)
