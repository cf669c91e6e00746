"""Draw how networks adapt to a task: the true function, support points, and predictions before and after steps."""

from itertools import count, takewhile
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.columns.peers import curve
from analysis.figures import style
from analysis.page import Sketch
from analysis.store.cells import Cell, computes_order
from analysis.store.load import Experiment

_SHADES = ("#88CCEE", "#DDAA33", "#332288", "#CC6677")  # colours of predictions, from the first to the last
_ROOM = 0.35  # free space above and below, as a fraction of the truth's range; farther predictions are cut off


def draw_sketch(spec: Sketch, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw a row of panels per task, a panel per implementation, for the first case with data. Returns None without."""
    cells = [experiment.cells[i] for i in frame.index.unique()]
    cells = [cell for cell in cells if curve(cell, f"{spec.series}_0", spec.y)]
    if not cells:
        return None
    first = min(cells, key=lambda cell: (cell.case.name, cell.case.seed or 0)).case.id
    newest = {c.implementation: c for c in sorted(cells, key=lambda c: c.finished) if c.case.id == first}
    names = sorted(newest, key=lambda name: (not newest[name].computes, computes_order(newest[name].computes), name))
    tasks = _tasks(newest[names[0]], spec)
    figure = Figure(figsize=(style.WIDTH, 1.4 + 1.9 * tasks), layout="constrained")
    axes: Any = figure.subplots(tasks, len(names), squeeze=False, sharex=True, sharey="row")
    for task in range(tasks):
        for name, axis in zip(names, axes[task], strict=True):
            _draw(axis, newest[name], f"{spec.series}_{task}", spec)
            if task == 0:
                axis.set_title(name)
    axes[-1, len(names) // 2].set_xlabel(spec.xlabel or spec.x)
    handles = [Line2D([], [], color=style.GREY, linewidth=4, label="truth")]
    handles.append(Line2D([], [], color=style.INK, marker="o", linestyle="", label="support points"))
    for shade, value in zip(_SHADES, spec.values, strict=False):
        steps = value.rpartition("_")[2]
        label = "before" if steps == "0" else f"after {steps} step{'s' * (steps != '1')}"
        handles.append(Line2D([], [], color=shade, label=label))
    return style.finish(figure, spec.title, handles, [spec.caption] if spec.caption else [])


def _tasks(cell: Cell, spec: Sketch) -> int:
    return len(list(takewhile(lambda task: curve(cell, f"{spec.series}_{task}", spec.y), count())))


def _draw(axis: Axes, cell: Cell, series: str, spec: Sketch) -> None:
    x, truth = curve(cell, series, spec.x), curve(cell, series, spec.y)
    axis.plot(x, truth, color=style.GREY, linewidth=4, solid_capstyle="round", zorder=1)
    for shade, value in zip(_SHADES, spec.values, strict=False):
        axis.plot(x, curve(cell, series, value), color=shade, linewidth=1.5, zorder=2)
    support = f"{series}_support"
    points = curve(cell, support, spec.x), curve(cell, support, spec.y)
    axis.plot(*points, "o", color=style.INK, markersize=4, markeredgecolor="white", markeredgewidth=0.5, zorder=3)
    room = _ROOM * (max(truth) - min(truth))
    axis.set_ylim(min(truth) - room, max(truth) + room)
    axis.spines[["top", "right"]].set_visible(False)
