"""Merge what `make matrix` measured into the compatibility table: `python -m analysis.checks.matrix [STORE …]`.

A store is the results folder of one pair of PyTorch and Python versions. Rows of other pairs stay as they are in the
table, so that it can grow by one version at a time; without a store, the Markdown and the figure are made anew from the
table.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.checks import compatibility
from analysis.checks.compatibility import EVERYTHING, UNAVAILABLE, VERDICTS
from analysis.figures import heatmap
from analysis.store.load import Experiment, MixedDigests, Unreadable, load
from experiments.harness.records import Environment
from experiments.harness.records.files import write_whole

CHECK = "regress"
ABOUT = "pair.json"  # names a store's pair of versions and, if the store is empty, the reason
TABLE = Path("results/published/compatibility")
REASONS = 3  # how many a row spells out
_DTYPES = ("float64", "float32")
_BY_STATUS = {"ok": "right", "expected": "expected", "unavailable": UNAVAILABLE}  # any other status is wrong


def main(arguments: Sequence[str] | None = None) -> None:
    """Merge the stores into the table, write its files, and print a line for each pair."""
    parser = argparse.ArgumentParser("python -m analysis.checks.matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stores", nargs="*", type=Path, metavar="STORE")
    parser.add_argument("--into", type=Path, default=TABLE, metavar="DIR", help="the folder of the table")
    options = parser.parse_args(arguments)
    parts = [pair(store) for store in options.stores if (store / ABOUT).exists()]
    table = merge(compatibility.read(options.into), parts)
    if table.empty:
        print("there is no table yet, and nothing to put into it: run `make matrix`", file=sys.stderr)
        sys.exit(2)
    for name, content in (compatibility.files(table) | heatmap.files(table)).items():
        write_whole(options.into / name, content)
    for part in parts:
        print(_line(part, table))
    for store in options.stores:
        if not (store / ABOUT).exists():
            print(f"{store.name}: its check did not end, so its rows stay as they were")


def pair(store: Path) -> pd.DataFrame:
    """Return the rows of one pair of versions: one per implementation, or a single one that says why there are none."""
    about = json.loads((store / ABOUT).read_text(encoding="utf-8"))
    versions = {"torch": about["torch"], "python": about["python"]}
    reason = about["reason"]
    rows = []
    try:
        rows = [] if reason else [versions | row for row in _implementations(load(store, CHECK))]
    except (Unreadable, MixedDigests) as error:
        reason = f"the check's results cannot be used: {error}"
    nothing = {"implementation": EVERYTHING, "verdict": UNAVAILABLE, "reason": reason or "the check left no results"}
    return compatibility.frame(rows or [versions | nothing])


def merge(table: pd.DataFrame, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the table with the rows of these pairs in place of those that it had.

    Rows from an earlier check stay if the same pair cannot be checked today, since that says nothing about the
    versions.
    """
    for part in parts:
        same = _same(table, part)
        if not (_missing(part) and same.any() and not _missing(table[same])):
            table = pd.concat([table[~same], part]) if len(table) else part
    return compatibility.sort_rows(table)


def _same(table: pd.DataFrame, part: pd.DataFrame) -> "pd.Series[bool]":
    return (table["torch"] == part["torch"].iloc[0]) & (table["python"] == part["python"].iloc[0])


def _missing(part: pd.DataFrame) -> bool:
    return bool((part["implementation"] == EVERYTHING).all())


def _line(part: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return a line that says what became of a pair."""
    name = f"torch {part['torch'].iloc[0]}, Python {part['python'].iloc[0]}"
    if _missing(part):
        kept = "" if _missing(table[_same(table, part)]) else "; the rows of an earlier check are kept"
        return f"{name}: unavailable: {part['reason'].iloc[0]}{kept}"
    counts = Counter(part["verdict"])
    return f"{name}: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def _implementations(experiment: Experiment) -> Iterable[dict[str, object]]:
    """Yield a row per implementation: counts by verdict, the worst errors, and the reasons for anything not right."""
    cells = experiment.rows.assign(verdict=[_BY_STATUS.get(status, "wrong") for status in experiment.rows["status"]])
    for name, group in cells.groupby("implementation"):
        first = experiment.cells[group.index[0]]
        environment = experiment.environments.get(first.environment, Environment())
        counts = Counter(group["verdict"])
        yield {
            "implementation": name,
            "computes": first.computes,
            "misuse": "yes" if first.misuse else "",
            "library": first.library,
            "library_version": first.library_version,
            "torch_version": environment.torch,
            "python_version": environment.python,
            "numpy_version": environment.numpy,
            "verdict": _verdict(counts),
            **{f"cases_{verdict}": counts[verdict] for verdict in VERDICTS},
            **_worst(group),
            "reason": _reasons(group.loc[group["verdict"] != "right", "reason"]),
        }


def _verdict(counts: Counter[str]) -> str:
    """Return one verdict for all cases: a wrong case makes the whole wrong, an unavailable one does not.

    >>> _verdict(Counter(right=9, wrong=1)), _verdict(Counter(right=9, unavailable=9)), _verdict(Counter(unavailable=9))
    ('wrong', 'right', 'unavailable')
    """
    return next(verdict for verdict in ("wrong", "expected", "right", UNAVAILABLE) if counts[verdict])


def _reasons(reasons: Iterable[str]) -> str:
    """Join the distinct reasons, the first few in full and the rest as a count.

    >>> _reasons(["a", "b", "a", "c", "d", "e"])
    'a; b; c; and 2 more'
    """
    distinct = list(dict.fromkeys(filter(None, reasons)))
    more = [f"and {len(distinct) - REASONS} more"] if len(distinct) > REASONS else []
    return "; ".join(distinct[:REASONS] + more)


def _worst(cells: pd.DataFrame) -> dict[str, float]:
    """Return by dtype the largest error, and the largest error in units of its tolerance."""
    worst: dict[str, float] = {}
    for dtype in _DTYPES:
        errors, tolerances = (
            pd.to_numeric(cells.loc[cells["dtype"] == dtype, name], errors="coerce") for name in ("error", "tolerance")
        )
        worst |= {f"error_{dtype}": errors.max(), f"of_tolerance_{dtype}": (errors / tolerances).max()}
    return worst


if __name__ == "__main__":
    main()
