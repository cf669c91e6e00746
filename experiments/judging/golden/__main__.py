"""`python -m experiments.judging.golden`: build every golden case anew, write what changed by more than rounding."""

import sys
from pathlib import Path

from experiments.judging.golden import files
from experiments.judging.golden.build import Rejected, build, changes
from experiments.judging.golden.cases import CASES, Case


def main(folder: Path = files.FOLDER) -> int:
    """A line for each case; the exit code is 1 if one was rejected."""
    folder.mkdir(parents=True, exist_ok=True)
    rejected = 0
    for number, case in enumerate(CASES, start=1):
        said = _made(folder, case)
        rejected += said.startswith("rejected")
        print(f"{number:>3}/{len(CASES)}  {case.name}: {said}", flush=True)
    for name in sorted(set(files.names(folder)) - {case.name for case in CASES}):
        (folder / f"{name}.json").unlink()
        print(f"{name}: no case any more, removed")
    return int(rejected > 0)


def _made(folder: Path, case: Case) -> str:
    """Build one case; its file is left alone where it says the same but for rounding."""
    try:
        new = build(case)
    except Rejected as error:
        return f"rejected: {error}; choose another seed or setting"
    try:
        said = changes(files.read(case.name, folder), new)
    except FileNotFoundError:
        said = ["new"]
    except (ValueError, KeyError):
        said = ["its file was damaged"]
    if not said:
        return "as before"
    (folder / f"{case.name}.json").write_text(new.text())
    return f"written: {', '.join(said)}"


if __name__ == "__main__":
    sys.exit(main())
