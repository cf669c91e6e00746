"""Draw a point for each implementation and case, on log axes, so that outliers and their cases can be seen."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.columns.column import Column, Error
from analysis.columns.values import value_of
from analysis.figures import dots, style
from analysis.page import Points
from analysis.statistics.sections import OK, Section, labels, sections
from analysis.store.load import Experiment

_FLOATS = ("float16", "float32", "float64")
_LANE = 0.055  # inches per case, whose markers stand in lanes within an implementation's row
_CASES = 24


class Point(NamedTuple):
    """What a panel shows of one row of a section; `case` is the name in the legend."""

    implementation: str
    case: str
    value: float
    ok: bool


Panels = dict[tuple[Column, str], list[Point]]
"""The points of each panel, by column and dtype."""


def draw_points(spec: Points, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw a row per implementation with a marker per case; a panel per column and dtype. Returns None without data.

    Markers are hollow where the row is not ok.
    """
    section_list, values = dots.with_data(spec, sections(experiment, frame), experiment)
    if not values:
        return None
    section_list, more = _first(section_list)
    panels = _points(section_list, values)
    all_points = [point for points in panels.values() for point in points]
    names = [name for name in looks if name in {point.implementation for point in all_points}]
    cases = list(dict.fromkeys(point.case for point in all_points))
    markers = {case: style.MARKERS[i % len(style.MARKERS)] for i, case in enumerate(cases)}
    row = max(0.27, _LANE * (len(cases) + 1))
    figure = Figure(figsize=(style.WIDTH, 1.9 + row * len(names)), layout="constrained")
    axes: Any = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    dtypes = {dtype for _, dtype in panels}
    for axis, ((column, dtype), points) in zip(axes, panels.items(), strict=True):
        _draw(axis, points, names, markers, looks)
        axis.set_title(dtype if len(dtypes) > 1 else "")
        axis.set_xlabel((spec.xlabel if len(spec.values) == 1 else "") or column.axis_label)
        if isinstance(column, Error):
            axis.axvline(_epsilon(column.dtype(dtype)), color=style.GREY, zorder=1)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    computes = dict(zip(frame["implementation"], frame["computes"], strict=True))
    dots.separate(axes, [str(computes[name]) for name in names])
    handles = [Line2D([], [], color=style.INK, marker=markers[case], linestyle="", label=case) for case in cases]
    if any(isinstance(column, Error) for column in values):
        handles.append(Line2D([], [], color=style.GREY, label="machine epsilon"))
    caption = [*filter(None, [spec.caption]), *more, *_caption(all_points), *dots.missing(spec, values, experiment)]
    return style.finish(figure, spec.title, handles, caption + dots.not_ok(section_list, "case", names))


def _first(section_list: list[Section]) -> tuple[list[Section], list[str]]:
    """Return the sections of as many cases as there is room for, in all dtypes, and a remark if cases are left out."""
    cases = _cases(section_list)
    shown, more = style.first(list(dict.fromkeys(cases)), _CASES)
    return [section for section, case in zip(section_list, cases, strict=True) if case in shown], more


def _cases(section_list: list[Section]) -> list[str]:
    """Return the name of each section's case: what distinguishes it from the others, apart from the dtype."""
    return labels([replace(section, dtype="") for section in section_list])


def _points(section_list: list[Section], values: list[Column]) -> Panels:
    """Return the points of each panel that has any."""
    panels: Panels = {}
    cases = _cases(section_list)
    for column in values:
        for dtype in sorted({section.dtype for section in section_list}):
            points = [
                Point(str(row["implementation"]), case, value_of(row, column.name), row["status"] == OK)
                for section, case in zip(section_list, cases, strict=True)
                for row in (section.lines if section.dtype == dtype else ())
            ]
            if shown := [point for point in points if math.isfinite(point.value)]:
                panels[column, dtype] = shown
    return panels


def _draw(axis: Axes, points: list[Point], names: list[str], markers: dict[str, str], looks: style.Looks) -> None:
    """Draw one panel; zeros stand left of a break in the axis."""
    positive = [point.value for point in points if point.value >= style.FLOOR]
    zero = 10.0 ** (math.floor(math.log10(min(positive, default=style.FLOOR))) - 1)
    lanes = {case: 0.8 * ((i + 0.5) / len(markers) - 0.5) for i, case in enumerate(markers)}
    for point in points:
        colour = looks[point.implementation].colour
        x = point.value if point.value >= style.FLOOR else zero
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.5} if point.ok else {"markerfacecolor": "white"}
        y = names.index(point.implementation) + lanes[point.case]
        axis.plot(x, y, markers[point.case], color=colour, markersize=5, zorder=3, **edge)
    dots.clean(axis)
    style.log_numbers(axis.xaxis)
    if len(positive) < len(points):
        low, high = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if max(low, 2 * zero) < tick < high]
        axis.set_xticks([zero, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
        style.break_axis(axis, zero * 10**0.5)


def _epsilon(dtype: str) -> float:
    """Return the machine epsilon of a dtype."""
    return float(np.finfo(dtype).eps) if dtype in _FLOATS else float("nan")


def _caption(points: list[Point]) -> list[str]:
    hollow = any(not point.ok for point in points)
    zero = any(point.value < style.FLOOR for point in points)
    return ["Hollow: judged not right, see the table."] * hollow + [f"0: zero, or below {style.FLOOR:g}."] * zero
