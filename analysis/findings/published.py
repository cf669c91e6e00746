"""Read one published run from its tables: rows, numbers, and cells as tables show them."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import pages, text
from analysis.columns.column import Column, plain
from analysis.columns.times import BreakEven
from analysis.columns.values import interval_of, number_of, value_of
from analysis.statistics.sections import OK
from analysis.store.cells import computes_order
from analysis.tables.slopes import exponent

TEXTS = ("implementation", "computes", "cases", "setting", "mode", "verdict")
Where = str | int | float | Sequence[str | int | float]
Table = dict[str, list[str]]
Row = Mapping[Any, Any]


class Missing(Exception):
    """Something that a page shows is not among the published results, or contradicts what the page says."""


class Run:
    """A published run: its tables as numbers, text and Markdown, and links to it from a page in `docs/`."""

    def __init__(self, name: str, published: Path) -> None:
        self.name, self.folder = name, published / name

    def rows(self, table: str, **where: Where) -> pd.DataFrame:
        """Return the rows of a table whose columns hold the given values.

        If a case is given and it has several round groups, only the largest is returned, the newest among equals.

        Raises `Missing` if the table or a column is not there, or no row is left.
        """
        rows = read(self.folder / "tables" / f"{table}.csv")
        for column, accepted in where.items():
            self._column(table, rows, column)
            values = [accepted] if isinstance(accepted, str | int | float) else list(accepted)
            rows = rows[rows[column].isin(values)]
        if rows.empty:
            raise Missing(f"{self.name}/tables/{table}.csv: no row with {_in_words(where)}")
        if "round_group" in rows and rows["round_group"].nunique() > 1 and "case" in where:
            sizes = rows.groupby("round_group").size()
            rows = rows[rows["round_group"] == max(sizes.index, key=lambda group: (sizes[group], group))]
        return rows

    def row(self, table: str, **where: Where) -> Row:
        """Return the one row with the given values; raises `Missing` unless there is exactly one."""
        rows = self.rows(table, **where)
        if len(rows) != 1:
            raise Missing(f"{self.name}/tables/{table}.csv: {len(rows)} rows with {_in_words(where)}, not one")
        row: Row = rows.iloc[0].to_dict()
        return row

    def number(self, table: str, column: str, **where: Where) -> float:
        """Return the number in one column of one row; raises `Missing` if there is none."""
        value = number_of(self._cell(table, column, where))
        if value != value:
            raise Missing(f"{self.name}/tables/{table}.csv: no number in {column} with {_in_words(where)}")
        return value

    def cell(self, table: str, column: str, **where: Where) -> str:
        """Return one column of one row as text, with its interval and verdict, as tables show it."""
        self._cell(table, column, where)
        return cell_text(self.row(table, **where), column)

    def times(self, table: str, column: str, **where: Where) -> str:
        """Return a ratio for a sentence: "1.41 times (1.38–1.44)"."""
        self.number(table, column, **where)
        row = self.row(table, **where)
        return text.ratio(interval_of(row, column), "").strip().replace("×", " times")

    def table(self, table: str, columns: Mapping[str, str] | Sequence[str], **where: Where) -> str:
        """Return rows as a Markdown table, leaving out rows that are not ok.

        columns: the columns of the CSV, or a mapping from these to the headers to show; the implementation comes first.
        """
        rows = [row for row in self.rows(table, **where).to_dict("records") if row.get("status", OK) == OK]
        if not rows:
            raise Missing(f"{self.name}/tables/{table}.csv: no row with {_in_words(where)} is ok")
        headers = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
        for column in headers:
            if column not in ("published", *rows[0]):
                self._column(table, self.rows(table, **where), column)
        first = next(iter(headers))
        rows.sort(key=lambda row: (computes_order(str(row.get("computes", ""))), *_rank(row, first)))
        cells: Table = {"implementation": [str(row["implementation"]) for row in rows]}
        cells |= {header: [cell_text(row, column) for row in rows] for column, header in headers.items()}
        return text.grid(text.quote_names({name: values for name, values in cells.items() if any(values)}), TEXTS)

    def figure(self, name: str, alt: str, up: str = "../") -> str:
        """Return a plot of the run as an image 800 pixels wide; `up` leads from the page to the project's root."""
        if not (self.folder / "plots" / f"{name}.png").is_file():
            raise Missing(f"{self.name}/plots/{name}.png: there is no such plot")
        return f'<img src="{up}results/published/{self.name}/plots/{name}.png" width="800" alt="{alt}">'

    def link(self, table: str) -> str:
        """Return the address of a table, relative to a page in `docs/`."""
        if not (self.folder / "tables" / f"{table}.md").is_file():
            raise Missing(f"{self.name}/tables/{table}.md: there is no such table")
        return f"../results/published/{self.name}/tables/{table}.md"

    @property
    def home(self) -> str:
        """Return the address of the run's folder, relative to a page in `docs/`."""
        return f"../results/published/{self.name}"

    @property
    def environment(self) -> str:
        """Return the versions and the processor, as the run's table `cost` names them."""
        table = (self.folder / "tables" / "cost.md").read_text()
        lines = re.findall(r"^Environment `\w+`: (.*?)(?:; commit \w+)?\.$", table, re.M)
        if not lines:
            raise Missing(f"{self.name}/tables/cost.md: no line names the environment")
        return "; ".join(lines)

    def _cell(self, table: str, column: str, where: Mapping[str, Where]) -> object:
        self._column(table, self.rows(table, **where), column)
        return self.row(table, **where)[column]

    def _column(self, table: str, rows: pd.DataFrame, column: str) -> None:
        if column not in rows:
            raise Missing(f"{self.name}/tables/{table}.csv: no column {column}")


@cache
def kind(column: str) -> Column:
    """Return the kind of a column: from the page of an experiment that has it, else guessed from its name."""
    candidates = (candidate for name in pages.names() for candidate in pages.find(name).columns)
    return next((candidate for candidate in candidates if candidate.name == column), plain(column))


def cell_text(row: Row, column: str) -> str:
    """Return one column of a row as text, with its interval, and with its verdict if it has one.

    >>> cell_text({"accuracy": 95.2, "accuracy_lo": 94.4, "accuracy_hi": 95.9}, "accuracy")
    '95.2 (94.4–95.9)'
    >>> cell_text({"published": 1.17, "published_half_width": 0.16}, "published")
    '1.17 ± 0.16'
    """
    if column == "published":
        value, half = value_of(row, column), value_of(row, f"{column}_half_width")
        return "" if value != value else f"{value:g}" if half != half else f"{value:g} ± {half:g}"
    if column == "loss" and value_of(row, "seeds_not_finite") > 0:
        return f"not finite ({row['seeds_not_finite']:g} of {row['seeds']:g} seeds)"
    if column == "difference":
        return text.interval(interval_of(row, column), sign=True)
    if column == "exponent":
        return exponent(row)
    if isinstance(kind(column), BreakEven) and isinstance(
        row[column], str
    ):  # stored as text, since the column may also say `never`
        return row[column] if not row[column].isdigit() else text.number(float(row[column]))
    if column == "allreduce_bytes":
        return f"{row[column]:,}"
    return kind(column).text(row)


@cache
def read(file: Path) -> pd.DataFrame:
    """Read a published table and keep it for later calls; raises `Missing` if there is no such file."""
    if not file.is_file():
        raise Missing(f"{file.parent.parent.name}/{file.parent.name}/{file.name}: there is no such table")
    return pd.read_csv(file, dtype={"round_group": str, "environment": str, "torch": str, "python": str})


def _rank(row: Row, column: str) -> tuple[float, str]:
    value = value_of(row, column)
    return (value if value == value else float("inf")), str(row["implementation"])


def _in_words(where: Mapping[str, object]) -> str:
    return ", ".join(f"{column} {value}" for column, value in where.items()) or "anything"
