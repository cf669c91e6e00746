"""Summarise many sections in one table: each implementation's counts by status, and the range of each number."""

from collections import Counter
from collections.abc import Iterable

from analysis.columns.column import Column
from analysis.columns.losses import Difference
from analysis.columns.values import Row, number_of
from analysis.statistics.sections import Section
from analysis.store.cells import computes_order
from experiments.harness.records.cells import STATUSES

FROM = 4  # sections, from which on a reader needs an overview


def overview(section_list: list[Section], columns: Iterable[Column], short: bool = False) -> dict[str, list[str]]:
    """Return cells by header, without empty columns; names are not escaped.

    short: use the columns' short names.
    """
    rows: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for number, section in enumerate(section_list):
        for row in section.lines:
            rows.setdefault((row["computes"], row["implementation"]), []).append((number, row))
    dtypes = sorted({section.dtype for section in section_list})
    lines = []
    for (computes, name), numbered_rows in sorted(rows.items(), key=lambda g: (computes_order(g[0][0]), g[0][1])):
        line = {"implementation": name, "computes": computes}
        counts = Counter(
            status for _, status in dict.fromkeys((number, row["status"]) for number, row in numbered_rows)
        )
        line["cases"] = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        for column in (column for column in columns if not isinstance(column, Difference)):
            # errors depend on the dtype: a single worst one would only show the coarsest dtype's
            for dtype in dtypes if column.worst_counts else [""]:
                values = [row.get(column.name) for _, row in numbered_rows if not dtype or row["dtype"] == dtype]
                line[_header(column.short_name if short else column.name, dtype)] = _range(column, values)
        lines.append(line)
    table = {header: [line[header] for line in lines] for header in lines[0]}
    return {header: cells for header, cells in table.items() if any(cells)}


def _header(column: str, dtype: str) -> str:
    return f"{column}, worst in {dtype}" if dtype else f"{column}, range"


def _range(column: Column, values: list[object]) -> str:
    """Return the smallest and the largest number, followed by any words that stand in place of numbers."""
    numbers = [number for value in values if (number := number_of(value)) == number]
    words = sorted({value for value in values if isinstance(value, str)})
    if not numbers:
        return ", ".join(words)
    low, high = column.number(min(numbers)), column.number(max(numbers))
    if not (column.worst_counts or low == high):
        high = f"{low} to {high}" if low.startswith("-") else f"{low}–{high}"
    return ", ".join([high, *words])
