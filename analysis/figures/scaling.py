"""Draw how a quantity grows with one factor at a time: a panel per factor, a line per implementation, log axes."""

from collections.abc import Iterator
from itertools import combinations, cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter
from numpy.typing import NDArray

from analysis.figures import style
from analysis.page import Scaling
from analysis.statistics import study
from analysis.store.load import Experiment

_GAP = 0.16  # distance of 0 from the other points, as a fraction of the log axis
_ALIKE = 0.05  # relative difference that a marker hides
_CHARACTER = 0.085  # width in inches of a character in a tick's label
_GUIDES: tuple[style.Dash, ...] = ((0, (5, 2)), (0, (1.2, 1.6)), (0, (7, 2, 1.5, 2)))
_GRADIENT: dict[str, Any] = {
    "color": style.INK,
    "linestyle": (0, (4, 1.5)),
    "linewidth": 1.6,
    "marker": "_",
    "zorder": 2,
}

Array = NDArray[np.float64]


def draw_scaling(spec: Scaling, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw a row of panels per device, dtype and threads. Returns None without data.

    The implementation `gradient` and the columns of `lines` are drawn as dashed guides, whatever `computes` says.
    """
    value = spec.value
    points = study.points(experiment, frame)
    points = points[points["factor"].isin(spec.factors)] if value in points.columns else points[:0]
    if points.empty:
        return None
    points = points.assign(shown=_is_shown(points, spec) & _numbers(points[value]).notna())
    shown = points[points["shown"]]
    rows = [(label, group) for label, group in study.setups(points) if group["shown"].any()]
    if not rows:
        return None
    factors = [factor for factor in spec.factors if factor in set(shown["factor"])]
    names = [name for name in looks if name in set(shown["implementation"])]
    lines = _lines([name for name in names if name != spec.gradient], looks)
    height = 1.3 + (3.4 if len(rows) == 1 else 2.9) * len(rows) + 0.07 * len(names)
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    axes: Any = figure.subplots(len(rows), len(factors), squeeze=False, sharey="row")
    base = study.base(experiment, factors)
    for (label, group), row in zip(rows, axes, strict=True):
        for factor, axis in zip(factors, row, strict=True):
            factor_points = group[group["factor"] == factor]
            shown_points = factor_points[factor_points["shown"]]
            axis.set_xlabel(spec.factors[factor])
            if shown_points.empty:
                style.no_result(axis)
                axis.set_xticks([])
                continue
            _panel(axis, shown_points, factor_points, spec, lines)
            if factor in base:
                axis.axvline(base[factor], color="0.85", linewidth=3, zorder=0.5)
            _ticks(axis, shown_points["x"], 0.8 * style.WIDTH / len(factors))
        style.log_numbers(row[0].yaxis)
        row[0].set_ylabel("\n".join(filter(None, [label, spec.ylabel or experiment.columns[value].axis_label])))
    handles = [Line2D([], [], label=name, **line) for name, line in lines.items()]
    for title, dash in _guides(spec, points):
        handles.append(Line2D([], [], color=style.GREY, linestyle=dash, linewidth=1.6, label=title))
    if spec.gradient in names:
        handles.append(Line2D([], [], label=f"one plain gradient ({spec.gradient})", **_GRADIENT))
    caption = list(_caption(spec, experiment, frame, shown, base))
    return style.finish(figure, spec.title, handles, caption)


def _panel(
    axis: Axes, shown_points: pd.DataFrame, factor_points: pd.DataFrame, spec: Scaling, lines: dict[str, dict[str, Any]]
) -> None:
    """Draw one panel: `shown_points` have lines of their own, guides are taken from all `factor_points`."""
    value = spec.value
    zero = _zero(shown_points["x"])
    for name, line in {spec.gradient: _GRADIENT, **lines}.items():
        points = shown_points[shown_points["implementation"] == name]
        x, y = _place(points["x"], zero), points[value].to_numpy(dtype=float)
        _plot(axis, x, y, zero, line)
        if f"{value}_lo" in points and name != spec.gradient:
            lo, hi = (points[f"{value}_{end}"].to_numpy(dtype=float) for end in ("lo", "hi"))
            axis.vlines(x, lo, hi, color=line["color"], linewidth=1.1, zorder=3)
    for (column, _), (_, dash) in zip(_present(spec, factor_points), _guides(spec, factor_points), strict=True):
        median = _numbers(factor_points[column]).groupby(factor_points["x"]).median().dropna()
        guide_look = {"color": style.GREY, "linestyle": dash, "linewidth": 1.6, "marker": "_", "zorder": 1.5}
        _plot(axis, _place(median.index.to_series(), zero), median.to_numpy(dtype=float), zero, guide_look)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
    if zero:
        style.break_axis(axis, zero * _zero_distance(shown_points["x"]) ** 0.5)


def _is_shown(points: pd.DataFrame, spec: Scaling) -> pd.Series:
    """Return a mask of the points whose implementation computes what is shown, or is the plain gradient."""
    is_shown = points["computes"].isin(spec.computes) if spec.computes else pd.Series(True, points.index)
    return is_shown | (points["implementation"] == spec.gradient)


def _present(spec: Scaling, points: pd.DataFrame) -> list[tuple[str, str]]:
    """Return column and title of the declared guides that have a number among these points."""
    return [
        (column, title) for column, title in spec.lines.items() if column in points and _numbers(points[column]).any()
    ]


def _numbers(values: pd.Series) -> pd.Series:
    """Return positive numbers, which a log axis can show, and NaN for all other values."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.where(numbers > 0)


def _guides(spec: Scaling, points: pd.DataFrame) -> list[tuple[str, style.Dash]]:
    dashes = dict(zip(spec.lines, cycle(_GUIDES), strict=False))
    return [(title, dashes[column]) for column, title in _present(spec, points)]


def _lines(names: list[str], looks: style.Looks) -> dict[str, dict[str, Any]]:
    """Return how to draw each line: thinner than the one before it, so that both of two equal lines show."""
    lines = {}
    for i, name in enumerate(names):
        colour, marker, dash = looks[name]
        fine = i / max(len(names) - 1, 1)
        size = (7.0 - 2.5 * fine) * (
            1.4 if marker == "*" else 1.0
        )  # a star looks smaller than other markers of its size
        lines[name] = {
            "color": colour,
            "linestyle": dash,
            "linewidth": 2.2 - 1.3 * fine,
            "marker": marker,
            "markersize": size,
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
            "zorder": 4 + fine,
        }
    return lines


def _plot(axis: Axes, x: Array, y: Array, zero: float, look: dict[str, Any]) -> None:
    """Plot a line, leaving points at 0 unconnected: their distance to the rest is no distance on a log axis."""
    rest = x > zero
    marker = look["marker"] if look["marker"] != "_" else ""  # a guide has markers only at 0, where it has no line
    axis.plot(x[rest], y[rest], **look | {"marker": marker})
    axis.plot(x[~rest], y[~rest], **look | {"linestyle": "", "markersize": look.get("markersize", 9)})


def _zero_distance(x: pd.Series) -> float:
    """Return by what factor 0 is drawn to the left of the smallest positive value on the log axis."""
    positive = x[x > 0]
    return max(1.5, float((positive.max() / positive.min()) ** _GAP)) if len(positive) else 1.5


def _zero(x: pd.Series) -> float:
    """Return where 0 is drawn on the log axis; 0 if no point is at 0."""
    positive = x[x > 0]
    return float(positive.min() if len(positive) else 1.0) / _zero_distance(x) if (x == 0).any() else 0.0


def _place(x: pd.Series, zero: float) -> Array:
    return np.where(x == 0, zero, x).astype(float)


def _ticks(axis: Axes, x: pd.Series, inches: float) -> None:
    """Put a tick at every value that occurs, with labels as far as there is room, the ends first."""
    zero = _zero(x)
    places = {value or zero: f"{value:g}" for value in sorted(set(x))}
    low, high = np.log10(axis.get_xlim())
    label_spans: list[tuple[float, float]] = []
    labelled_places = []
    first, *rest = places
    for place in dict.fromkeys([*rest[-1:], first, *rest]):
        centre, half = (np.log10(place) - low) / (high - low) * inches, _CHARACTER * (len(places[place]) + 1) / 2
        if all(centre - half >= end or centre + half <= start for start, end in label_spans):
            label_spans.append((centre - half, centre + half))
            labelled_places.append(place)
    axis.set_xticks(sorted(labelled_places), [places[place] for place in sorted(labelled_places)])
    axis.xaxis.set_minor_locator(FixedLocator(list(places)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _caption(
    spec: Scaling, experiment: Experiment, frame: pd.DataFrame, shown: pd.DataFrame, base: dict[str, float]
) -> Iterator[str]:
    value = spec.value
    if f"{value}_lo" in shown and shown[f"{value}_lo"].notna().any():
        yield "Bar: 95 % interval, where it is wider than the marker."
    if base:
        point = ", ".join(f"{factor.replace('_', ' ')} {x:g}" for factor, x in base.items())
        yield f"Wide grey line: the case that the panels share, {point}."
    if shown["rounds"].max() > 1 and any(value in cell.samples for cell in experiment.cells):
        yield "From several round groups, of each implementation the newest: ratios are in the table only."
    if pairs := list(_coinciding(shown[shown["implementation"] != spec.gradient], value)):
        yield f"Within {100 * _ALIKE:.0f} % of each other wherever both are, one line on the other: {', '.join(pairs)}."
    yield from _absent(spec, experiment, frame, set(shown["implementation"]))


def _coinciding(shown: pd.DataFrame, value: str) -> Iterator[str]:
    """Yield pairs of implementations whose points are, to the eye, the same wherever both have one."""
    at = shown.pivot_table(values=value, index=[*study.SETUP, "factor", "x"], columns="implementation", dropna=False)
    logs = np.log(at.astype(float))
    for one, other in combinations(logs.columns, 2):
        both = (logs[one] - logs[other]).dropna()
        inside = len(both) == min(logs[one].count(), logs[other].count())
        if inside and len(both) > 1 and both.abs().max() < np.log1p(_ALIKE):
            yield f"{one} and {other}"


def _absent(spec: Scaling, experiment: Experiment, frame: pd.DataFrame, drawn: set[str]) -> Iterator[str]:
    """Yield why points are missing: what is not ok, and what was not measured."""
    value = spec.value
    status: dict[str, set[str]] = {}
    reasons: dict[str, set[str]] = {}
    for cell in (experiment.cells[position] for position in frame.index.unique()):
        belongs = cell.implementation == spec.gradient or cell.computes in (spec.computes or (cell.computes,))
        if not belongs or not cell.case.factors.keys() & spec.factors.keys():
            continue
        if not cell.ok:
            status.setdefault(cell.implementation, set()).add(cell.status)
        elif cell.implementation not in drawn and value in cell.empty:
            reasons.setdefault(cell.empty[value], set()).add(cell.implementation)
    for reason, names in sorted(reasons.items()):
        yield f"No line for {', '.join(sorted(names))}: {reason}."
    if status:
        names_in_words = [f"{name} ({', '.join(sorted(words))})" for name, words in sorted(status.items())]
        yield f"Not at every point: {'; '.join(names_in_words)}."
