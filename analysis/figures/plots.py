"""Draw and encode the figures that an experiment's page declares; a figure without data is not drawn."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures import curves, intervals, points, scaling, sheet, sketch, style
from analysis.page import Curves, Drift, Intervals, Plot, Points, Scaling, Sheet, Sketch
from analysis.statistics import study
from analysis.store import machines
from analysis.store.load import Experiment

DPI = 150
FORMATS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

Draw = Callable[[Any, Experiment, pd.DataFrame, style.Looks], Figure | None]
KINDS: dict[type[Plot], Draw] = {
    Curves: curves.draw_curves,
    Drift: curves.draw_drift,
    Intervals: intervals.draw_intervals,
    Points: points.draw_points,
    Scaling: scaling.draw_scaling,
    Sheet: sheet.draw_sheet,
    Sketch: sketch.draw_sketch,
}


@dataclass(frozen=True)
class Output:
    """The files of one figure or table, content by file ending; empty if there is nothing to show."""

    name: str
    files: dict[str, bytes]


def draw(experiment: Experiment, frame: pd.DataFrame, looks: style.Looks) -> Iterator[Output]:
    """Draw the figures of the experiment's page.

    `frame` comes from `columns.frame.with_computed`, `looks` from `style.assign`.
    """
    for spec in experiment.page.figures:
        with mpl.rc_context(style.rc()):
            rows = frame if spec.studies else study.outside(experiment, frame)
            rows = _where(rows, spec.where)
            machines_in_words = machines.several(experiment.cells[position] for position in rows.index)
            titled_spec = replace(spec, title=f"{spec.title} (from {machines_in_words})") if machines_in_words else spec
            figure = KINDS[type(spec)](titled_spec, experiment, rows, looks)
            files = {} if figure is None else {ending: encode(figure, ending) for ending in FORMATS}
        yield Output(spec.name, files)


def _where(frame: pd.DataFrame, conditions: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows that have these values in these columns; none if a column is missing."""
    for column, value in conditions.items():
        kept = frame[column] == value if column in frame.columns else pd.Series(False, frame.index)
        frame = frame[kept.fillna(False).astype(bool)]
    return frame


def encode(figure: Figure, ending: str) -> bytes:
    """Return a figure as the content of a file in one of FORMATS; call it under `style.rc()`.

    The first call lays the figure out; later ones keep that layout.
    """
    FigureCanvasAgg(figure)  # independent of pyplot's global state and of any display
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending, dpi=DPI, metadata=FORMATS[ending])
    figure.set_layout_engine("none")
    return buffer.getvalue()
