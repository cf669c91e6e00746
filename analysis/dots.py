"""Dots on a log axis: an interval per implementation, or a point per case and implementation."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style, text
from analysis.cells import computes_order
from analysis.declaration import FigureSpec
from analysis.legend import why_empty
from analysis.load import Experiment
from analysis.sections import OK, Section, labels, sections, value_of

_FLOATS = ("float16", "float32", "float64")
_LINE = 0.27  # inches per implementation


def draw_intervals(spec: FigureSpec, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """A row of panels per section, a panel per column of `values`; in `_order`. None without data."""
    found, values = _with_data(spec, sections(experiment, frame))
    if not values:
        return None
    orders = [_order(section, values) for section in found]
    heights = [len(order) + 1.2 for order in orders]
    figure = Figure(figsize=(style.WIDTH, 1.0 + _LINE * sum(heights) + 0.35 * len(found)), layout="constrained")
    axes: Any = figure.subplots(len(found), len(values), squeeze=False, height_ratios=heights, sharex="col")
    for row, (section, order) in enumerate(zip(found, orders, strict=True)):
        for column, axis in zip(values, axes[row], strict=True):
            for position, name in enumerate(order):
                _dot(axis, position, section.rows.iloc[name].to_dict(), column, looks)
            names = [str(section.rows["implementation"].iloc[name]) for name in order]
            axis.set_yticks(range(len(order)), names if axis is axes[row, 0] else [""] * len(order))
            axis.set_ylim(len(order) - 0.4, -0.6)
            _log_x(axis)
            if column.startswith("speedup_vs_"):
                axis.axvline(1.0, color=style.GREY, linewidth=1.2, zorder=1)
        axes[row, 0].set_title(labels(found)[row], loc="left")
    for column, axis in zip(values, axes[-1], strict=True):
        axis.set_xlabel((spec.xlabel if len(spec.values) == 1 else "") or style.axis_label(column))
        _room_for_numbers(axis)
    ends = any(_numbers(section, f"{column}_lo") for section in found for column in values)
    caption = ["Bar: 95 % interval, where it is wider than the dot."] if ends else []
    return style.finish(figure, spec.title, [], caption + _missing(spec, values, experiment) + _not_ok(found))


def draw_points(spec: FigureSpec, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """A line per section, a panel per column of `values`; hollow where the row is not ok. None without data."""
    found, values = _with_data(spec, sections(experiment, frame))
    if not values:
        return None
    shown = pd.concat([section.rows.dropna(subset=values, how="all") for section in found])
    names = [name for name in looks if name in set(shown["implementation"])]
    line = max(0.3, 0.045 * len(names))
    figure = Figure(figsize=(style.WIDTH, 1.9 + line * len(found)), layout="constrained")
    axes: Any = figure.subplots(1, len(values), squeeze=False, sharey=True)
    hollow = floored = False
    for column, axis in zip(values, axes[0], strict=True):
        for position, section in enumerate(found):
            if column.startswith("error"):
                axis.vlines(_epsilon(column, section), position - 0.5, position + 0.5, color=style.GREY, zorder=1)
            if position % 2:
                axis.axhspan(position - 0.5, position + 0.5, color="0.96", zorder=0)
            for row in section.rows.to_dict("records"):
                value = value_of(row, column)
                if not np.isfinite(value):
                    continue
                look = looks[row["implementation"]]
                ok = row["status"] == OK
                hollow, floored = hollow or not ok, floored or value < style.FLOOR
                offset = ((names.index(row["implementation"]) + 0.5) / len(names) - 0.5) * 0.8
                face = look.colour if ok else "white"
                x, y = max(value, style.FLOOR), position + offset
                edge = {"markeredgecolor": "white", "markeredgewidth": 0.5} if ok else {}
                axis.plot(x, y, look.marker, color=look.colour, markerfacecolor=face, **edge)
        axis.set_xscale("log")
        style.decades(axis.xaxis)
        axis.set_xlabel((spec.xlabel if len(spec.values) == 1 else "") or style.axis_label(column))
        axis.grid(False, axis="y")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(found)), labels(found))
    axes[0, 0].set_ylim(len(found) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=looks[name].colour, marker=looks[name].marker, linestyle="", label=name) for name in names
    ]
    if any(column.startswith("error") for column in values):
        handles.append(Line2D([], [], color=style.GREY, label="machine epsilon"))
    caption = ["Hollow: judged not right, see the table."] if hollow else []
    caption += [f"Zero or below {style.FLOOR:g}: drawn at {style.FLOOR:g}."] if floored else []
    return style.finish(figure, spec.title, handles, caption + _missing(spec, values, experiment))


def _numbers(section: Section, column: str) -> bool:
    present = column in section.rows.columns
    return present and bool(pd.to_numeric(section.rows[column], errors="coerce").notna().any())


def _epsilon(column: str, section: Section) -> float:
    """Machine epsilon of the dtype that an error was measured in: the one its column names, else the case's."""
    dtype = column.rpartition("_")[2]
    dtype = dtype if dtype in _FLOATS else section.dtype
    return float(np.finfo(dtype).eps) if dtype in _FLOATS else float("nan")


def _with_data(spec: FigureSpec, found: list[Section]) -> tuple[list[Section], list[str]]:
    """The sections and the columns that have a number anywhere."""
    values = [column for column in spec.values if any(_numbers(section, column) for section in found)]
    return [section for section in found if any(_numbers(section, column) for column in values)], values


def _order(section: Section, values: list[str]) -> list[int]:
    """Positions of the rows that have a value, those that compute the same together.

    Among them best first by the first column, ties and gaps by the next ones.
    """
    rows = section.rows
    ranks = [[_rank(row, column) for column in values] for row in rows.to_dict("records")]
    shown = [i for i, rank in enumerate(ranks) if rows["status"].iloc[i] == OK and min(rank) < np.inf]
    return sorted(shown, key=lambda i: (computes_order(str(rows["computes"].iloc[i])), ranks[i]))


def _rank(row: dict[Any, Any], column: str) -> float:
    """Small is good, except for speed-ups; no value comes last."""
    value = value_of(row, column)
    if np.isnan(value):
        return float("inf")
    return -value if column.startswith("speedup_vs_") else value


def _dot(axis: Axes, position: int, row: dict[Any, Any], column: str, looks: style.Looks) -> None:
    value, lo, hi = (value_of(row, f"{column}{end}") for end in ("", "_lo", "_hi"))
    if not value > 0:  # nothing, or nothing that a log axis has a place for
        return
    look = looks[row["implementation"]]
    if lo > 0 and np.isfinite(hi):
        axis.hlines(position, lo, hi, color=look.colour, linewidth=2.2, alpha=0.6, zorder=2)
    axis.plot(value, position, look.marker, color=look.colour, markersize=6.5, zorder=3)
    end = max(value, hi) if np.isfinite(hi) else value
    beside: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
    beside["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    shown = text.times(value) if column.startswith("speedup_vs_") else text.number(value)
    axis.annotate(shown, (end, position), color=style.INK, **beside)


def _log_x(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _room_for_numbers(axis: Axes) -> None:
    """Widen a log axis so that the numbers beside the dots fit, and label 1, 2, 5 where there are few decades."""
    low, high = np.log10(axis.get_xlim())
    missing = max(0.0, 0.5 - (high - low))  # a narrow range would have no tick at all
    low, high = low - missing / 2, high + missing / 2
    width = high - low
    axis.set_xlim(10 ** (low - 0.05 * width), 10 ** (high + 0.3 * width))
    style.log_numbers(axis.xaxis)


def _missing(spec: FigureSpec, values: list[str], experiment: Experiment) -> list[str]:
    """Why a declared column has no panel."""
    absent = [column for column in spec.values if column not in values]
    return [f"No panel for {style.axis_label(column)}: {why_empty(column, experiment)}." for column in absent]


def _not_ok(found: list[Section]) -> list[str]:
    """Which rows have no dot since they are not ok."""
    status: dict[str, set[str]] = {}
    for section in found:
        for name, word in zip(section.rows["implementation"], section.rows["status"], strict=True):
            if word != OK:
                status.setdefault(str(name), set()).add(str(word))
    gone = [f"{name} ({', '.join(sorted(words))})" for name, words in sorted(status.items())]
    return [f"Not in every panel: {'; '.join(gone)}."] if gone else []
