"""Hold the compatibility table, a row per PyTorch, Python and implementation, and write it as CSV and Markdown."""

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from analysis import text
from analysis.store.cells import computes_order

NAME = "compatibility"
EVERYTHING = "all"  # in the row of a pair that could not be checked, stands for every implementation
UNAVAILABLE = "unavailable"
VERDICTS = ("right", "expected", "wrong", UNAVAILABLE)
NAMES = {"right": "right", "expected": "off, as is known", "wrong": "wrong", UNAVAILABLE: "unavailable"}
MEANINGS = {
    "right": "within its tolerance of the oracle in every case it serves",
    "expected": "off, or failed, in cases that are a known limitation of its library or a misuse of it, and right in "
    "all others",
    "wrong": "beyond its tolerance, or failed, in cases where nothing is known of it",
    UNAVAILABLE: "could not be checked; the reason is given",
}
_TEXTS = (
    "torch", "python", "implementation", "computes", "misuse", "library", "library_version", "torch_version",
    "python_version", "numpy_version", "verdict", "reason",
)  # fmt: skip
_WORST = ("error_float64", "of_tolerance_float64", "error_float32", "of_tolerance_float32")
_COUNTS = tuple(f"cases_{verdict}" for verdict in VERDICTS)
COLUMNS = (*_TEXTS[:-1], *_COUNTS, *_WORST, "reason")


def frame(rows: Iterable[Mapping[str, object]] = ()) -> pd.DataFrame:
    """Return rows as a table with all columns; missing text becomes an empty text."""
    table = pd.DataFrame([dict(row) for row in rows], columns=list(COLUMNS))
    texts = {name: table[name].astype(object).fillna("").astype(str) for name in _TEXTS}
    counts = {name: table[name].astype("Int64") for name in _COUNTS}
    return table.assign(**texts, **counts, **{name: table[name].astype(float) for name in _WORST})


def read(folder: Path) -> pd.DataFrame:
    """Read the table that `files` wrote, or return an empty one. Versions stay text, since 3.10 is not 3.1."""
    file = folder / f"{NAME}.csv"
    if not file.exists():
        return frame()
    return frame(pd.read_csv(file, dtype=dict.fromkeys(_TEXTS, str)).to_dict("records"))


def sort_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by versions, then by what is computed (second order first) and implementation."""
    keys = [(text.natural(row["torch"]), text.natural(row["python"]), *_place(row)) for row in table.to_dict("records")]
    return table.iloc[sorted(range(len(keys)), key=keys.__getitem__)].reset_index(drop=True)


def implementations(table: pd.DataFrame) -> list[str]:
    """Return the implementations that were checked with any pair of versions, in order."""
    rows = sorted(table[table["implementation"] != EVERYTHING].to_dict("records"), key=_place)
    return list(dict.fromkeys(str(row["implementation"]) for row in rows))


def titles(table: pd.DataFrame) -> dict[str, str]:
    """Return a title for each implementation; a known misuse of a library is marked as one."""
    misuses = set(table.loc[table["misuse"] != "", "implementation"])
    return {name: f"{name} (misuse)" if name in misuses else name for name in implementations(table)}


def count_served(row: Mapping[Any, Any]) -> int:
    """Return how many cases an implementation served, right or wrong."""
    return int(row["cases_right"] + row["cases_expected"] + row["cases_wrong"])


def outcome(row: Mapping[Any, Any]) -> str:
    """Return in a few words how many of the served cases are right, off or wrong.

    >>> outcome({"verdict": "expected", "cases_right": 94, "cases_expected": 8, "cases_wrong": 0})
    '8 of 102 off'
    >>> outcome({"verdict": "right", "cases_right": 26, "cases_expected": 0, "cases_wrong": 0})
    '26 right'
    """
    verdict = row["verdict"]
    if verdict in ("right", UNAVAILABLE):
        return f"{row['cases_right']} right" if verdict == "right" else UNAVAILABLE
    counts = {"off": row["cases_expected"], "wrong": row["cases_wrong"]}
    return ", ".join(f"{count} of {count_served(row)} {word}" for word, count in counts.items() if count)


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """Return the content of each file, by file name."""
    csv = table.to_csv(index=False, lineterminator="\n", float_format="%.3g")
    return {f"{NAME}.csv": csv.encode(), f"{NAME}.md": markdown(table)}


def markdown(table: pd.DataFrame) -> bytes:
    """Return the Markdown page: a line per pair of versions, the reasons for anything not right, and a legend."""
    names = titles(table)
    pairs = [group for _, group in table.groupby(["torch", "python"], sort=False)]
    checked = sum(EVERYTHING not in set(group["implementation"]) for group in pairs)
    lines = [_pair(group.to_dict("records"), names) for group in pairs]
    about = table.assign(about=[_about(row) for row in table.to_dict("records")])
    reasons = [_reason(group, checked) for _, group in about.groupby(["implementation", "about", "reason"])]
    blocks = [
        "# Which implementation is right with which PyTorch and Python",
        "How many of the cases it serves are right, or how many are off, and the worst error in float64, from "
        "`make matrix`. Every pair of versions was checked in a fresh environment of its own, on a CPU.",
        tabulate(lines, headers="keys", tablefmt="pipe", disable_numparse=True),
        "## Reasons",
        tabulate([line for line in reasons if line["reason"]], headers="keys", tablefmt="pipe", disable_numparse=True),
        "## Legend",
        "\n".join(f"- {NAMES[verdict]}: {meaning}" for verdict, meaning in MEANINGS.items()),
        f"All columns, with the errors in float32 and relative to their tolerances, are in [{NAME}.csv]({NAME}.csv).",
    ]
    return ("\n\n".join(blocks) + "\n").encode()


def _pair(rows: list[dict[Hashable, Any]], names: Mapping[str, str]) -> dict[str, str]:
    """Return a line with one pair of versions and, for each implementation, its outcome and error."""
    line = {"torch": rows[0]["torch"], "Python": rows[0]["python"], "NumPy": rows[0]["numpy_version"]}
    by_name = {row["implementation"]: row for row in rows}
    for name, title in names.items():
        row = by_name.get(name, by_name.get(EVERYTHING))
        parts = [outcome(row), text.number(row["error_float64"])] if row else []
        line[text.code(name) + title.removeprefix(name)] = ", ".join(filter(None, parts))
    return line


def _about(row: Mapping[Any, Any]) -> str:
    """Return which of an implementation's cases its reason explains."""
    if row["verdict"] == UNAVAILABLE:
        return UNAVAILABLE
    absent = f"{row['cases_unavailable']} not served" if row["cases_unavailable"] else ""
    return ", ".join(filter(None, ["" if row["verdict"] == "right" else outcome(row), absent]))


def _reason(rows: pd.DataFrame, checked: int) -> dict[str, str]:
    """Return a line of the reasons: implementation, cases, versions that share the reason, and the reason."""
    first = rows.iloc[0]
    name = str(first["implementation"])
    where = "; ".join(
        f"torch {torch}, Python {' and '.join(group['python'])}" for torch, group in rows.groupby("torch", sort=False)
    )
    return {
        "implementation": name if name == EVERYTHING else text.code(name),
        "cases": first["about"],
        "with": "every pair that could be checked" if name != EVERYTHING and len(rows) == checked else where,
        "reason": text.escape(first["reason"]),
    }


def _place(row: Mapping[Any, Any]) -> tuple[tuple[int, str], str]:
    return computes_order(str(row["computes"])), str(row["implementation"])
