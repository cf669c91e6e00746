"""Draw curves over the meta-iterations: their values, or their distance from the reference's curve."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis import text
from analysis.columns.column import plain
from analysis.columns.peers import curve, curve_reference, grouped, reference_for
from analysis.figures import style
from analysis.page import Curves, Drift
from analysis.statistics import stats
from analysis.store.cells import COMPUTES, Cell, computes_order
from analysis.store.load import Experiment

_POINTS = 400  # drawn of a curve; more would only add noise and large files
_MARKS = 9  # markers along a curve
_CASES = 6  # at most, with a row of panels each

Array = NDArray[np.float64]


def draw_curves(spec: Curves, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw the mean of each curve over seeds, with a 95 % t band: a row of panels per case. Returns None without data.

    A row has a panel per `computes`, unless `together` puts all in one: implementations that compute the same should
    coincide. In the panels of other methods the second-order reference is a thin grey line.
    """
    cells = _cells(experiment, frame, spec)
    if not cells:
        return None
    settings, more = style.first(sorted({cell.case.setting for cell in cells}, key=_natural), _CASES)
    cells = [cell for cell in cells if cell.case.setting in settings]
    kinds = [""] if spec.together else sorted({cell.computes for cell in cells}, key=computes_order)
    figure, axes = _panels(len(settings), len(kinds))
    second_order = "" if spec.together else reference_for(cells, "maml")
    for row, setting in enumerate(settings):
        row_cells = [cell for cell in cells if cell.case.setting == setting]
        for column, kind in enumerate(kinds):
            axis = axes[row, column]
            if kind != "maml" and second_order:
                x, means, _, _ = _over_seeds([cell for cell in row_cells if cell.implementation == second_order], spec)
                axis.plot(x, means, color=style.GREY, linewidth=1.2, zorder=1)
            lines = _by_name([cell for cell in row_cells if spec.together or cell.computes == kind], looks)
            for name, group in lines:
                x, means, lo, hi = _over_seeds(group, spec)
                _line(axis, x, means, looks[name], looks[name].width)
                _band(axis, x, lo, hi, looks[name], max(0.06, 0.2 / len(lines)))  # paler if many bands may overlap
            if not lines:
                style.no_result(axis)
            if row == 0:
                axis.set_title(COMPUTES.get(kind, kind))
        axes[row, 0].set_ylabel(_row_label(setting, settings, spec.ylabel or plain(spec.y).axis_label))
    _label_x(axes, spec)
    handles = [_handle(name, looks[name]) for name in _names(cells, looks)]
    if second_order and len(kinds) > 1:
        handles.append(Line2D([], [], color=style.GREY, linewidth=1.2, label=f"{second_order}, for comparison"))
    seeds = {cell.case.seed for cell in cells}
    caption = more + ([f"Mean over {len(seeds)} seeds, band: 95 % t interval over seeds."] if len(seeds) > 1 else [])
    block = max(_block(len(_x(cell, spec))) for cell in cells)
    caption += [f"Each point is the mean of up to {block} successive ones."] if block > 1 else []
    return style.finish(figure, spec.title, handles, caption)


def draw_drift(spec: Drift, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw how far curves have moved from the reference's, a panel per dtype: median and range over seeds.

    Each point is the largest |curve - reference| / |reference| up to there, since the rounding error of a single
    iteration jumps between nothing and a few eps. Returns None without data.
    """
    pairs = list(_pairs(_cells(experiment, frame, spec), spec))
    if not pairs:
        return None
    settings, more = style.first(sorted({_any_dtype(cell) for cell, _ in pairs}, key=_natural), _CASES)
    pairs = [(cell, reference) for cell, reference in pairs if _any_dtype(cell) in settings]
    distances = [(cell, _distance(cell, reference, spec)) for cell, reference in pairs]
    dtypes = sorted({cell.case.dtype for cell, _ in pairs})
    figure, axes = _panels(len(settings), len(dtypes))
    has_zero = False
    for row, setting in enumerate(settings):
        for column, dtype in enumerate(dtypes):
            axis = axes[row, column]
            panel_distances = [
                (cell, distance)
                for cell, distance in distances
                if _any_dtype(cell) == setting and cell.case.dtype == dtype
            ]
            by_cell = {id(cell): distance for cell, distance in panel_distances}
            for name, group in _by_name([cell for cell, _ in panel_distances], looks):
                seed_curves = _stack([by_cell[id(cell)] for cell in group])
                x, seed_curves = _merge_blocks(_x(group[0], spec)[: seed_curves.shape[1]], np.maximum, seed_curves)
                has_zero = has_zero or bool((seed_curves <= style.FLOOR).any())
                _line(axis, x, np.median(seed_curves, axis=0), looks[name], width=1.6)
                _band(axis, x, seed_curves.min(axis=0), seed_curves.max(axis=0), looks[name], alpha=0.12)
            if not panel_distances:
                style.no_result(axis)
            if dtype in ("float32", "float64"):
                axis.axhline(float(np.finfo(dtype).eps), color=style.GREY, linewidth=1.2, zorder=1)
            axis.set_yscale("log")
            style.decades(axis.yaxis)
            if row == 0:
                axis.set_title(dtype)
        label = spec.ylabel or f"relative distance of {plain(spec.y).axis_label}"
        axes[row, 0].set_ylabel(_row_label(setting, settings, label))
    _label_x(axes, spec)
    references = sorted({reference.implementation for _, reference in pairs})
    caption = [f"The largest distance so far from the reference that computes the same ({', '.join(references)})."]
    caption += more
    if len({cell.case.seed for cell, _ in pairs}) > 1:
        caption.append("Line: median over seeds, band: their range.")
    if has_zero:
        caption.append(f"Equal to the last bit: drawn at {style.FLOOR:g}.")
    handles = [_handle(name, looks[name]) for name in _names([cell for cell, _ in pairs], looks)]
    handles.append(Line2D([], [], color=style.GREY, linewidth=1.2, label="machine epsilon"))
    return style.finish(figure, spec.title, handles, caption)


def _cells(experiment: Experiment, frame: pd.DataFrame, spec: Curves) -> list[Cell]:
    """Return the cells that have the curve, the newest of each implementation in each case."""
    newest: dict[object, Cell] = {}
    for cell in sorted((experiment.cells[i] for i in frame.index.unique()), key=lambda cell: cell.finished):
        if curve(cell, spec.series, spec.x) and curve(cell, spec.series, spec.y):
            newest[cell.case.id, cell.implementation] = cell
    return list(newest.values())


def _by_name(cells: list[Cell], looks: style.Looks) -> list[tuple[str, list[Cell]]]:
    """Return implementations with their cells, in the order in which they are drawn."""
    cells = sorted(cells, key=lambda c: (looks[c.implementation].layer, c.implementation, str(c.case.seed)))
    return [(name, list(group)) for name, group in groupby(cells, key=lambda cell: cell.implementation)]


def _natural(setting: tuple[Any, ...]) -> list[tuple[str, int]]:
    return text.natural(" ".join(map(str, setting)))


def _names(cells: list[Cell], looks: style.Looks) -> list[str]:
    """Return implementations in the order of the legend, which is the order of `looks`."""
    present = {cell.implementation for cell in cells}
    return [name for name in looks if name in present]


def _any_dtype(cell: Cell) -> tuple[str, str, int | None]:
    return cell.case.name, cell.case.device, cell.case.threads


def _pairs(cells: list[Cell], spec: Curves) -> Iterator[tuple[Cell, Cell]]:
    """Yield each cell with the reference cell that its curve is compared with, unless they are one implementation's."""
    same_case = grouped(cells, lambda cell: cell.case.id)
    for cell in cells:
        reference = curve_reference(cell, same_case[cell.case.id], spec.series, spec.y)
        if reference is not None and reference.implementation != cell.implementation:
            yield cell, reference


def _distance(cell: Cell, reference: Cell, spec: Curves) -> Array:
    values, reference_values = (curve(c, spec.series, spec.y) for c in (cell, reference))
    return np.maximum.accumulate(np.maximum(stats.relative_drift(values, reference_values), style.FLOOR))


def _panels(rows: int, columns: int) -> tuple[Figure, Any]:
    height = 1.5 + (2.6 if rows == 1 else 2.1) * rows
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, sharex="row", sharey="row", squeeze=False)


def _stack(curves: list[Any]) -> Array:
    """Return curves as an array [seeds, points], cut to the shortest."""
    length = min(len(values) for values in curves)
    return np.array([values[:length] for values in curves], dtype=float)


def _x(cell: Cell, spec: Curves) -> Array:
    return np.asarray(curve(cell, spec.series, spec.x), dtype=float)


def _block(points: int) -> int:
    """Return how many points of a curve are merged into one in the figure."""
    return -(-points // _POINTS)


def _merge_blocks(x: Array, combine: np.ufunc, y: Array) -> tuple[Array, Array]:
    """Merge the points of a long curve into blocks; x is taken at their ends.

    y: [seeds, points]; combine: `np.add` for means, `np.maximum` for the largest.
    """
    starts = np.arange(0, len(x), _block(len(x)))
    ends = np.append(starts[1:], len(x))
    combined = combine.reduceat(y, starts, axis=1)
    return x[ends - 1], combined / (ends - starts) if combine is np.add else combined


def _over_seeds(cells: list[Cell], spec: Curves) -> tuple[Array, Array, Array, Array]:
    """Return x, the mean and the ends of the 95 % t interval over seeds, each [points]; empty without cells."""
    if not cells:
        return (np.empty(0),) * 4
    y = _stack([curve(cell, spec.series, spec.y) for cell in cells])
    x, y = _merge_blocks(_x(cells[0], spec)[: y.shape[1]], np.add, y)
    mean, lo, hi = np.array([stats.t_interval(values) for values in y.T]).T
    return x, mean, lo, hi


def _line(axis: Axes, x: Array, y: Array, look: style.Look, width: float) -> None:
    step = max(len(style.DASHES), len(x) // _MARKS)
    axis.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.dash,
        linewidth=width,
        marker=look.marker,
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        markevery=(
            look.layer * step // len(style.DASHES),
            step,
        ),  # shifted, so that markers of coinciding curves are all visible
        zorder=3 + look.layer,
    )


def _band(axis: Axes, x: Array, lo: Array, hi: Array, look: style.Look, alpha: float) -> None:
    if np.isfinite(lo).any():  # a single seed has no interval
        axis.fill_between(x, lo, hi, color=look.colour, alpha=alpha, linewidth=0, zorder=2)


def _handle(name: str, look: style.Look) -> Line2D:
    return Line2D(
        [], [], color=look.colour, linestyle=look.dash, linewidth=min(look.width, 2.6), marker=look.marker,
        markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, label=name,
    )  # fmt: skip


def _row_label(setting: tuple[Any, ...], settings: list[Any], label: str) -> str:
    """Return the axis label of a row of panels, below what distinguishes it from the other rows."""
    varying = [str(part) for i, part in enumerate(setting) if len({other[i] for other in settings}) > 1]
    return "\n".join(filter(None, [", ".join(varying), label]))


def _label_x(axes: Any, spec: Curves) -> None:
    for axis in axes[-1]:
        axis.set_xlabel(spec.xlabel or plain(spec.x).axis_label)
    for axis in axes.flat:
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.spines[["top", "right"]].set_visible(False)
