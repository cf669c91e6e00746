"""Define what every kind of column can be asked, and the kinds of columns whose values cells store."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from analysis import text
from analysis.columns.peers import Peers
from analysis.columns.values import Row, combined, interval_of, number_of, with_ends, word_of
from analysis.statistics import stats
from analysis.store.cells import Cell
from experiments.harness.records import Scalar

REFERENCE = "reference"
"""The verdict in the row of a reference."""
_ACRONYMS = {"gpu": "GPU", "cpu": "CPU", "rss": "RSS"}
_UNITS = {"ns": "ns", "us": "µs", "ms": "ms", "s": "s", "mib": "MiB", "mb": "MB"}
_DURATION = re.compile(r"_(ns|us|ms|s)$")


@dataclass(frozen=True)
class Column:
    """A column of numbers or words that cells store in their rows."""

    name: str
    meaning: str = ""
    stored: ClassVar[bool] = True
    """Whether the table has the column, even if it is empty, whenever the experiment's page declares it."""
    timing: ClassVar[bool] = False
    """Whether the value is left out where a result is not right."""
    worst_counts: ClassVar[bool] = False
    """Whether the largest value over seeds and cases matters, instead of the mean."""
    more_is_better: ClassVar[bool] = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the CSV columns that this column fills."""
        return (self.name,)

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Compute the column's fields for a cell; empty if they stand in the cell's rows already."""
        return {}

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Combine the column's fields of several rows that differ in their seed."""
        return {
            name: combined([row[name] for row in rows], self.worst_counts) for name in self.fields if name in rows[0]
        }

    def text(self, row: Mapping[Any, object]) -> str:
        """Return the column's value in a row as text, with interval and verdict; empty without a value."""
        interval = interval_of(row, self.name)
        return text.interval(interval) if interval.value == interval.value else word_of(row, self.name)

    def number(self, value: float) -> str:
        """Return a number of this column as text, without an interval."""
        return text.number(value)

    def label(self, value: float) -> str:
        """Return a number as text where nothing else says what it is, such as beside a dot of a figure."""
        return self.number(value)

    def explain(self) -> str:
        """Return the column's line of the legend; empty if it needs none."""
        return self.meaning

    def why_empty(self) -> str:
        """Return why the column may have no value anywhere, if its definition is the reason; else an empty text."""
        return ""

    @property
    def axis_label(self) -> str:
        """Return the column's name for an axis, with the unit in brackets.

        >>> Column("peak_tensor_mib").axis_label, Column("error_float64").axis_label
        ('peak tensor (MiB)', 'error float64')
        """
        *words, unit = self.name.split("_")
        if not words or unit not in _UNITS:
            words, unit = [*words, unit], ""
        name = " ".join(_ACRONYMS.get(word, word) for word in words)
        return f"{name} ({_UNITS[unit]})" if unit else name

    @property
    def short_name(self) -> str:
        """Return the column's name for a terminal, where there is little room."""
        return self.name


@dataclass(frozen=True)
class Duration(Column):
    """A time that cells store in their rows."""

    timing: ClassVar[bool] = True


@dataclass(frozen=True)
class Error(Column):
    """The error of a result against its ground truth; of several errors the largest counts."""

    worst_counts: ClassVar[bool] = True

    def dtype(self, case_dtype: str) -> str:
        """Return the dtype in which the error was measured: the one that its name ends with, else the case's."""
        return self.name.removeprefix("error_") if self.name.startswith("error_") else case_dtype


@dataclass(frozen=True)
class Verdict(Column):
    """A column with a cell's status as a check's verdict."""

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Return the verdict of a cell: `right` if it is ok, else its status."""
        return {self.name: cell.verdict}


@dataclass(frozen=True)
class Mean(Column):
    """The mean of a cell's observations, with a 95 % interval."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the mean and of the ends of its interval."""
        return with_ends(self.name)

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Average the observations of a cell."""
        observed = cell.observations.get(self.name)
        return {} if observed is None else self.as_fields(stats.mean_interval(observed))

    def over_seeds(self, rows: Sequence[Row]) -> Row:
        """Average over the seeds, with a t interval over them."""
        numbers = [float(row[self.name]) for row in rows if row[self.name] is not None and _is_number(row[self.name])]
        return self.as_fields(stats.t_interval(numbers)) if f"{self.name}_lo" in rows[0] else super().over_seeds(rows)

    def as_fields(self, interval: stats.Interval) -> dict[str, Scalar]:
        """Return an interval as the column's fields."""
        return dict(zip(with_ends(self.name), interval, strict=True))


@dataclass(frozen=True)
class Sample(Mean):
    """The median over processes of a cell's samples, with a 95 % interval."""

    def values(self, cell: Cell, peers: Peers) -> dict[str, Scalar]:
        """Take the median over processes of a cell's samples."""
        processes = cell.samples.get(self.name)
        return {} if processes is None else self.as_fields(stats.time_interval(processes))


@dataclass(frozen=True)
class Time(Sample):
    """A time that was measured repeatedly, in several processes."""

    timing: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Computed(Column):
    """A column that no cell stores; its name follows from what it is computed from."""

    name: str = ""
    stored: ClassVar[bool] = False


def plain(name: str) -> Column:
    """Guess the kind of a column that is on no page from its name.

    >>> plain("wall_s"), plain("error_float32"), plain("words")
    (Duration(name='wall_s', meaning=''), Error(name='error_float32', meaning=''), Column(name='words', meaning=''))
    """
    if name == "error" or name.startswith("error_"):
        return Error(name)
    return Duration(name) if _DURATION.search(name) else Column(name)


def _is_number(value: object) -> bool:
    number = number_of(value)
    return number == number
