"""Draw a dot with its interval for each implementation, on a log axis, with a row of panels per case."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.columns.column import Column
from analysis.columns.times import Ratio
from analysis.columns.values import interval_of, value_of
from analysis.figures import dots, style
from analysis.page import Intervals
from analysis.statistics.sections import OK, Section, gaps, labels, sections
from analysis.store.cells import computes_order
from analysis.store.load import Experiment

_LINE = 0.27  # inches per implementation
_CASES = 8  # at most, with a row of panels each


def draw_intervals(spec: Intervals, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw a row of panels per section and a panel per column of `values`. Returns None without data."""
    section_list, values = dots.with_data(spec, sections(experiment, frame), experiment)
    if not values:
        return None
    section_list, more = style.first(section_list, _CASES)
    orders = [_order(section, values) for section in section_list]
    heights = [len(order) + 1.2 for order in orders]
    figure = Figure(figsize=(style.WIDTH, 1.0 + _LINE * sum(heights) + 0.35 * len(section_list)), layout="constrained")
    axes: Any = figure.subplots(len(section_list), len(values), squeeze=False, height_ratios=heights, sharex="col")
    for row, section, order, title in zip(axes, section_list, orders, labels(section_list, in_words=True), strict=True):
        _panels(row, section, order, values, looks)
        row[0].set_title(title, loc="left")
    for column, axis in zip(values, axes[-1], strict=True):
        axis.set_xlabel((spec.xlabel if len(spec.values) == 1 else "") or column.axis_label)
        _room_for_numbers(axis)
    caption = (
        _caption(section_list, values) + dots.missing(spec, values, experiment) + dots.not_ok(section_list, "panel")
    )
    return style.finish(figure, spec.title, [], [*filter(None, [spec.caption]), *more, *caption])


def _panels(axes: Any, section: Section, order: list[int], values: list[Column], looks: style.Looks) -> None:
    """Draw one section: names on the left, then a panel per column."""
    rows = [section.lines[position] for position in order]
    for column, axis in zip(values, axes, strict=True):
        for position, row in enumerate(rows):
            _dot(axis, position, row, column, looks)
        if not dots.has_number(section, column.name):
            style.no_result(axis)
        axis.set_yticks(range(len(rows)), [row["implementation"] if axis is axes[0] else "" for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        dots.clean(axis)
        if isinstance(column, Ratio):
            axis.axvline(1.0, color=style.GREY, linewidth=1.2, zorder=1)
    dots.separate(axes, [str(row["computes"]) for row in rows])


def _order(section: Section, values: list[Column]) -> list[int]:
    """Return the positions of the rows that have a value, grouped by what they compute.

    Within a group they are ordered best first by the first column; ties and missing values are ordered by the next
    ones.
    """
    lines = section.lines
    ranks = [[_rank(line, column) for column in values] for line in lines]
    shown = [i for i, rank in enumerate(ranks) if lines[i]["status"] == OK and min(rank) < np.inf]
    return sorted(shown, key=lambda i: (computes_order(str(lines[i]["computes"])), ranks[i]))


def _rank(row: dict[Any, Any], column: Column) -> float:
    """Return a sort key for a value: small is best, unless the column says otherwise, and no value comes last."""
    value = value_of(row, column.name)
    if np.isnan(value):
        return float("inf")
    return -value if column.more_is_better else value


def _dot(axis: Axes, position: int, row: dict[Any, Any], column: Column, looks: style.Looks) -> None:
    value, lo, hi = interval_of(row, column.name)
    if not value > 0:  # missing, or not on a log axis
        return
    look = looks[row["implementation"]]
    if lo > 0 and np.isfinite(hi):
        axis.hlines(position, lo, hi, color=look.colour, linewidth=2.2, alpha=0.6, zorder=2)
    axis.plot(value, position, look.marker, color=look.colour, markersize=6.5, zorder=3)
    end = max(value, hi) if np.isfinite(hi) else value
    text_style: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
    text_style["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axis.annotate(column.label(value), (end, position), color=style.INK, **text_style)


def _room_for_numbers(axis: Axes) -> None:
    """Widen a log axis so that the numbers beside the dots fit, and label 1, 2 and 5 if there are few decades."""
    low, high = np.log10(axis.get_xlim())
    shortfall = max(0.0, 0.5 - (high - low))  # otherwise a narrow range would have no tick
    low, high = low - shortfall / 2, high + shortfall / 2
    width = high - low
    axis.set_xlim(10 ** (low - 0.05 * width), 10 ** (high + 0.3 * width))
    style.log_numbers(axis.xaxis)


def _caption(section_list: list[Section], values: list[Column]) -> list[str]:
    """Say how rows are ordered, what bars mean, and why single implementations have no dot."""
    kinds = [str(line["computes"]) for section in section_list for line in section.lines]
    lines = []
    if len(set(kinds)) > 1:
        lines.append(f"Best first among what computes the same: {dots.kinds_in_words(kinds)}.")
    if any(dots.has_number(section, f"{column.name}_lo") for section in section_list for column in values):
        lines.append("Bar: 95 % interval, where it is wider than the dot.")
    labels_of = {column.name: column.axis_label for column in values}
    for (column, why), names in gaps(section_list, [column.name for column in values]).items():
        lines.append(f"Empty in single rows: {labels_of[column]} of {', '.join(names)} ({why}).")
    return lines
