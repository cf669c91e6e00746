"""Fit how columns grow with the factors of a study, as exponents on log axes, for CSV, Markdown and the terminal."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from analysis import text
from analysis.page import Slopes
from analysis.statistics import stats, study
from analysis.store import machines
from analysis.store.cells import computes_order
from analysis.store.load import Experiment

SETUP = [*study.SETUP, "environment"]  # a slope is fitted within one machine and its versions
COLUMNS = (
    "quantity", "factor", "implementation", "computes", *SETUP, "points", "from", "to", "exponent", "exponent_lo",
    "exponent_hi", "exponent_at_end", "per_unit", "per_unit_lo", "per_unit_hi",
)  # fmt: skip
_TEXTS = ("implementation", "computes")
LINEAR = "inner_steps"  # costs grow linearly with factors whose name ends so
_HOW = """
- `exponent`: p of quantity ~ factor^p, from a straight line through the logarithms of all points where the factor is at
  least 1, by least squares, with its 95 % t interval; that is wide also where the points lie on a curve.
- `exponent_at_end`: the slope between the last two points alone. What does not grow with the factor, such as a fixed
  overhead, flattens the left end, so that this one says more of what large values cost.
"""
_PER_UNIT = """- `per_unit`: growth of the quantity per inner step, in the unit that its name ends with: the slope of a
  straight line through the same points, without logarithms, with its 95 % t interval.
"""
_ROUNDS = (
    "A slope compares an implementation with itself over several cases, each timed in a round group of its own. No "
    "ratio between implementations is made of these: such ratios exist only inside one round group, in the main table."
)


class Fit(NamedTuple):
    """One implementation's growth with a factor; `per_unit` is NaN where a straight line makes no sense."""

    exponent: stats.Interval
    at_end: float
    per_unit: stats.Interval


def frame(spec: Slopes, experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per quantity, factor, setup and implementation; empty if no two points can make a slope.

    `rows` comes from `columns.frame.with_computed`.
    """
    points = study.points(experiment, rows, by_environment=True)
    groups = points.groupby(["factor", "implementation", *SETUP], dropna=False, sort=False)
    lines = [
        _line(group, quantity, spec)
        for (factor, *_), group in groups
        for quantity in spec.of
        if factor in spec.factors and quantity in group and len(_usable(group, quantity)) > 1
    ]
    return pd.DataFrame(sorted(lines, key=lambda line: _order(line, spec)), columns=list(COLUMNS))


def fit(x: Iterable[float], y: Iterable[float], linear: bool) -> Fit:
    """Fit how y grows with x: both positive, x ascending, at least two points.

    >>> fit([1.0, 2.0, 4.0], [3.0, 3.0, 12.0], linear=False).at_end
    2.0
    """
    xs, ys = list(x), list(y)
    at_end = math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2])
    return Fit(stats.growth_exponent(xs, ys), at_end, stats.growth_per_unit(xs, ys) if linear else stats.NOTHING)


def markdown(spec: Slopes, experiment: Experiment, slopes: pd.DataFrame) -> str:
    """Return the Markdown page: all exponents, then a section per quantity and factor; `slopes` comes from `frame`."""
    how = _HOW + (_PER_UNIT if slopes["per_unit"].notna().any() else "")
    blocks = [
        f"# {text.escape(experiment.name)}: slopes",
        "How cost grows with one factor at a time.",
        how.strip(),
        _ROUNDS,
        machines.sentence(cell for cell in experiment.cells if cell.case.factors),
    ]
    for quantity, quantity_slopes in slopes.groupby("quantity", sort=False):
        blocks.append(f"## Exponents of {text.code(quantity)}")
        for label, group in study.setups(quantity_slopes, SETUP):
            blocks += [f"{label}:" if label else "", text.grid(text.quote_names(overview(group)), _TEXTS)]
    for (quantity, factor), group in slopes.groupby(["quantity", "factor"], sort=False):
        blocks.append(f"## {text.code(quantity)} against {text.code(factor)}")
        for label, lines in study.setups(group, SETUP):
            blocks += [f"{label}:" if label else "", _section(lines)]
        studied = {cell.implementation for cell in experiment.cells if factor in cell.case.factors}
        few = sorted(studied - set(group["implementation"]))
        blocks.append(f"Fewer than two points: {', '.join(map(text.code, few))}." if few else "")
    return "\n\n".join(filter(None, blocks)) + "\n"


def overview(slopes: pd.DataFrame) -> dict[str, list[str]]:
    """Return the exponents of one setup and quantity, a line per implementation and a column per factor, unescaped."""
    computes = dict(zip(slopes["implementation"], slopes["computes"], strict=True))
    names = sorted(computes, key=lambda name: (computes_order(computes[name]), name))
    exponents = {(row["implementation"], row["factor"]): exponent(row) for row in slopes.to_dict("records")}
    factors = {factor: [exponents.get((name, factor), "") for name in names] for factor in slopes["factor"].unique()}
    return {"implementation": names, "computes": [computes[name] for name in names], **factors}


def exponent(row: Mapping[Any, Any]) -> str:
    """Return the fitted exponent of a line of `frame`, with its interval.

    >>> exponent({"exponent": 0.996, "exponent_lo": -0.001, "exponent_hi": 2.0})
    '1.00 (0.00 to 2.00)'
    """
    if math.isnan(row["exponent_lo"]):
        return _hundredths(row["exponent"])
    return f"{_hundredths(row['exponent'])} ({_hundredths(row['exponent_lo'])} to {_hundredths(row['exponent_hi'])})"


def _usable(points: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return points[(points["x"] >= 1) & (pd.to_numeric(points[quantity], errors="coerce") > 0)].sort_values("x")


def _line(group: pd.DataFrame, quantity: str, spec: Slopes) -> dict[str, Any]:
    points = _usable(group, quantity)
    first = points.iloc[0]
    growth = fit(points["x"], points[quantity].astype(float), linear=str(first["factor"]).endswith(LINEAR))
    names = ("factor", "implementation", "computes", *SETUP)
    return {
        "quantity": quantity,
        **{name: first[name] for name in names},
        "points": len(points),
        "from": points["x"].min(),
        "to": points["x"].max(),
        **_ends("exponent", growth.exponent),
        "exponent_at_end": growth.at_end,
        **_ends("per_unit", growth.per_unit),
    }


def _ends(name: str, interval: stats.Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_lo": interval.lo, f"{name}_hi": interval.hi}


def _order(line: Mapping[str, Any], spec: Slopes) -> tuple[Any, ...]:
    """Return a sort key: quantities and factors in the page's order, then setups, then implementations."""
    place = spec.of.index(line["quantity"]), spec.factors.index(line["factor"])
    setup = text.natural(" ".join(str(line[name]) for name in SETUP))
    return *place, setup, computes_order(line["computes"]), line["implementation"]


def _section(lines: pd.DataFrame) -> str:
    rows = lines.to_dict("records")
    table = {
        "implementation": [row["implementation"] for row in rows],
        "computes": [row["computes"] for row in rows],
        "exponent": [exponent(row) for row in rows],
        "exponent_at_end": [_hundredths(row["exponent_at_end"]) for row in rows],
        "points": [str(row["points"]) for row in rows],
        "range": [f"{row['from']:g}–{row['to']:g}" for row in rows],
    }
    if lines["per_unit"].notna().any():
        intervals = [stats.Interval(*(row[f"per_unit{end}"] for end in ("", "_lo", "_hi"))) for row in rows]
        table["per_unit"] = [text.interval(interval, sign=interval.lo < 0) for interval in intervals]
    return text.grid(text.quote_names(table), _TEXTS)


def _hundredths(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # adding zero turns -0.00 into 0.00
