"""A run without the command line's libraries: `python -m experiments.harness EXPERIMENT --results DIR`.

For an old environment or a bare machine with an accelerator, straight from a checkout: it needs Python 3.11 or newer,
NumPy, torch and the libraries that are measured. `maml-bench render` makes tables of the results, there or elsewhere.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.harness.distributed import torchrun
from experiments.harness.packages import refuse_hidden
from experiments.harness.refusals import BadRequest, Gone, NotWritable
from experiments.harness.selection import ALL, split

LINES = 10  # of progress for an experiment, at most


def main() -> None:
    """Measure what is missing; every refusal is one line and exit code 2."""
    parser = argparse.ArgumentParser("python -m experiments.harness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="the results folder")
    parser.add_argument("--implementations", default=ALL, help="names and files of your own (.py), separated by commas")
    parser.add_argument("--profile", default="quick", help="quick or full")
    parser.add_argument("--cases", default="", help="names, separated by commas, * for any part of one")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="threads (and cores) of each measuring process")
    asked = parser.parse_args()
    try:
        refuse_hidden()
        from experiments.harness.request import request
    except BadRequest as error:
        refuse(str(error))
    except ImportError as error:  # torch or NumPy; what an implementation imports is its own matter
        refuse(f"measuring needs NumPy and torch, which cannot be imported here: {error}")
    try:
        with torchrun.ranks() as executor:
            plan = request(
                asked.experiments,
                split(asked.implementations),
                profile=asked.profile,
                device=asked.device,
                threads=asked.threads,
                results=asked.results,
                cases=split(asked.cases),
                executor=executor,
            )
            plan.run(progress)
    except (BadRequest, NotWritable) as error:
        refuse(str(error))
    except Gone as gone:
        refuse(str(gone), code=1)
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the same command goes on from there")
        sys.exit(130)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(plan.statuses.items()))
    print(f"measured now: {counts or 'nothing, all of it was there'}")


def refuse(message: str, code: int = 2) -> None:
    """Print one clear line on standard error, and return the exit code."""
    sys.exit(print(f"experiments.harness: {message}", file=sys.stderr) or code)


@contextmanager
def progress(label: str, cells: int) -> Iterator[Callable[[float], None]]:
    """Print a line every so many cells."""
    done, lines = 0.0, 0

    def advance(share: float) -> None:
        nonlocal done, lines
        done += share
        whole = int(done + 1e-6)  # shares add up to less than one by rounding
        if LINES * whole // cells > lines:
            lines = LINES * whole // cells
            print(f"{label}: {whole} of {cells} cells", flush=True)

    yield advance


if __name__ == "__main__":
    main()
