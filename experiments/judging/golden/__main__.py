"""Build every golden case anew, and write the files of those that changed by more than rounding.

Run it by `python -m experiments.judging.golden`.
"""

import sys
from pathlib import Path

from experiments.judging.golden import files
from experiments.judging.golden.build import Rejected, build, changes
from experiments.judging.golden.cases import CASES, GoldenCase


def main(folder: Path = files.FOLDER) -> int:
    """Build all golden cases and print a line for each; return the exit code, 1 if one was rejected."""
    folder.mkdir(parents=True, exist_ok=True)
    rejected = 0
    for number, case in enumerate(CASES, start=1):
        outcome = _rebuild(folder, case)
        rejected += outcome.startswith("rejected")
        print(f"{number:>3}/{len(CASES)}  {case.name}: {outcome}", flush=True)
    for name in sorted(set(files.names(folder)) - {case.name for case in CASES}):
        (folder / f"{name}.json").unlink()
        print(f"{name}: no case any more, removed")
    return int(rejected > 0)


def _rebuild(folder: Path, case: GoldenCase) -> str:
    """Build one case, and write its file unless only rounding differs; return the outcome in words."""
    try:
        new = build(case)
    except Rejected as error:
        return f"rejected: {error}; choose another seed or inner loop"
    try:
        differences = changes(files.read(case.name, folder), new)
    except FileNotFoundError:
        differences = ["new"]
    except (ValueError, KeyError):
        differences = ["its file was damaged"]
    if not differences:
        return "as before"
    (folder / f"{case.name}.json").write_text(new.text())
    return f"written: {', '.join(differences)}"


if __name__ == "__main__":
    sys.exit(main())
