"""Draw few-shot classification episodes: the support images, and the class predicted for each query image."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.columns.peers import curve
from analysis.figures import style
from analysis.page import Sheet
from analysis.store.cells import Cell
from analysis.store.load import Experiment

_RIGHT, _WRONG = "#117733", "#CC3311"
_GAP = 0.4  # between support and query images, as a fraction of an image's width
_HEADER, _ROW = 0.3, 1.0  # inches


def draw_sheet(spec: Sheet, experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Figure | None:
    """Draw a row per episode, from the newest cell of each case's smallest seed. Returns None without episodes."""
    cells = [experiment.cells[i] for i in frame.index.unique()]
    newest = {cell.case.setting: cell for cell in sorted(cells, key=_precedence) if _episodes(cell, spec.series)}
    if not newest:
        return None
    shown = [(cell, _episodes(cell, spec.series)) for _, cell in sorted(newest.items())]
    heights = [_HEADER + _ROW * len(names) for _, names in shown]
    figure = Figure(figsize=(style.WIDTH, 0.8 + sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=heights)
    for part, (cell, names) in zip(parts[:, 0], shown, strict=True):
        part.suptitle(f"{cell.case.name}, {cell.implementation}", x=0.01, ha="left", fontsize=10)
        ways = _ways(cell, names[0])
        widths = [1.0] * ways + [_GAP] + [1.0] * ways
        axes = part.subplots(len(names), len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
        for axis in axes.flat:
            axis.set_axis_off()
        for line, name in zip(axes, names, strict=True):
            _draw_episode(line, cell, name, ways)
    return style.finish(figure, spec.title, [], [spec.caption] if spec.caption else [])


def _precedence(cell: Cell) -> tuple[int, str]:
    """Return a sort key that puts the newest cell of the smallest seed last."""
    return -(cell.case.seed or 0), cell.finished


def _episodes(cell: Cell, series: str) -> list[str]:
    """Return the names of the series that each hold one episode."""
    return list(takewhile(lambda name: bool(curve(cell, name, "support_0")), (f"{series}_{i}" for i in count())))


def _ways(cell: Cell, name: str) -> int:
    return sum(column.startswith("support_") for column in cell.series[name])


def _draw_episode(line: list[Axes], cell: Cell, name: str, ways: int) -> None:
    for way, prediction in enumerate(_labels(cell, name)):
        _image(line[way], curve(cell, name, f"support_{way}"))
        line[way].set_title(_letter(way), fontsize=9, color=style.INK, pad=2)
        query_axis = line[ways + 1 + way]
        _image(query_axis, curve(cell, name, f"query_{way}"))
        right = prediction == way
        label = _letter(prediction) if right else f"{_letter(prediction)}, is {_letter(way)}"
        query_axis.set_title(label, fontsize=9, color=_RIGHT if right else _WRONG, pad=2)


def _labels(cell: Cell, name: str) -> Iterator[int]:
    return map(int, curve(cell, f"{name}_taken", "for"))


def _letter(way: int) -> str:
    return chr(ord("A") + way)


def _image(axis: Axes, pixels: Sequence[float]) -> None:
    side = math.isqrt(len(pixels))
    rows = [pixels[i * side : (i + 1) * side] for i in range(side)]
    axis.imshow(rows, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
