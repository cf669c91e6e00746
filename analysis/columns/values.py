"""Read numbers and words from rows of a table, where a column may hold either."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.statistics.stats import Interval

Row = dict[str, Any]


def number_of(value: object) -> float:
    """Return a number as a float, and NaN for everything else."""
    if type(value) is float:  # the usual case, made fast: there may be millions of values
        return value
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if number else math.nan  # type: ignore[arg-type]


def value_of(row: Mapping[Any, object], name: str) -> float:
    """Return the number in a column, or NaN if there is none."""
    return number_of(row.get(name))


def interval_of(row: Mapping[Any, object], name: str) -> Interval:
    """Return the number in a column with the ends of its interval, NaN where there are none."""
    return Interval(value_of(row, name), value_of(row, f"{name}_lo"), value_of(row, f"{name}_hi"))


def word_of(row: Mapping[Any, object], name: str) -> str:
    """Return the words in a column, `yes` or `no` for a truth value; empty if there are none."""
    value = row.get(name)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ""


def with_ends(name: str) -> tuple[str, str, str]:
    """Return the names of a column and of the ends of its interval."""
    return name, f"{name}_lo", f"{name}_hi"


def combined(values: list[Any], worst: bool = False) -> object:
    """Combine several values into one: the mean of numbers, or the largest if `worst`, and all words that occur."""
    if values.count(values[0]) == len(values):
        return values[0]
    present = [value for value in values if value is not None]
    distinct = list(dict.fromkeys(present))
    if len(distinct) < 2:
        return next(iter(distinct), None)
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in present):
        return float(max(present) if worst else np.mean(present))
    return ", ".join(dict.fromkeys(str(value) for value in present))
