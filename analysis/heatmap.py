"""The compatibility table at a glance: versions down, implementations across, a verdict and its errors in each cell."""

import textwrap
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis import style, text
from analysis.compatibility import EVERYTHING, MEANINGS, NAME, UNAVAILABLE, implementations
from analysis.plots import FORMATS, encode

# Paul Tol's "light" scheme for all kinds of colour vision, made to be written on (SRON/EPS/TN/09-002).
COLOURS = {"right": "#BBDDEE", "expected": "#EEDD88", "wrong": "#EE8866", UNAVAILABLE: "#E4E4E4"}
_WORDS = {UNAVAILABLE: "n/a"}  # that fit into a cell
_ROW, _COLUMN = 0.55, 0.62  # inches; a column at least, so that its words fit
_GAP = 0.12  # between the versions of PyTorch, in rows


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """File name → content."""
    with mpl.rc_context(style.rc()):
        figure = draw(table)
        return {f"{NAME}.{ending}": encode(figure, ending) for ending in FORMATS}


def draw(table: pd.DataFrame) -> Figure:
    """A row of cells per pair of versions; one wide cell where the pair itself could not be checked."""
    names = implementations(table)
    pairs = table.groupby(["torch", "python"], sort=False)
    width = max(style.WIDTH, 1.2 + _COLUMN * len(names))
    figure = Figure(figsize=(width, 2.6 + _ROW * pairs.ngroups), layout="constrained")
    axis = figure.subplots()
    at = 0.0
    places: dict[str, list[tuple[float, str]]] = {}
    for (torch, python), rows in pairs:
        at += _GAP if places and torch not in places else 0.0
        places.setdefault(torch, []).append((at, python))
        for row in rows.to_dict("records"):
            whole = row["implementation"] == EVERYTHING
            _cell(axis, row, 0 if whole else names.index(row["implementation"]), at, max(len(names), 1) if whole else 1)
        at += 1
    axis.set_xlim(0, max(len(names), 1))
    axis.set_ylim(at, 0)
    _names(axis, names)
    _versions(axis, places)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    used = [verdict for verdict in COLOURS if verdict in set(table["verdict"])]
    words = {verdict: f"{verdict} ({_WORDS[verdict]})" if verdict in _WORDS else verdict for verdict in used}
    handles: list[Any] = [Patch(color=COLOURS[verdict], label=words[verdict]) for verdict in used]
    caption = [
        "Small numbers: how many of the cases it serves are not right, if any; then the worst error against the "
        "oracle, in float64 and below it in float32."
    ]
    caption += [f"{verdict.capitalize()}: {MEANINGS[verdict]}." for verdict in used]
    return style.finish(
        figure, "Which implementation computes the right meta-gradient with which PyTorch and Python", handles, caption
    )


def _cell(axis: Axes, row: dict[Any, Any], x: float, y: float, width: float) -> None:
    """Colour, word and errors; or the reason, where there is room for it."""
    verdict = row["verdict"]
    axis.add_patch(Rectangle((x, y), width, 1, facecolor=COLOURS[verdict], edgecolor="white", linewidth=2))
    centre: dict[str, Any] = {"ha": "center", "va": "center", "color": "0.1", "linespacing": 1.15}
    if row["implementation"] == EVERYTHING:
        reason = textwrap.shorten(f"{verdict}: {row['reason']}", 90, placeholder=" …")
        axis.text(x + width / 2, y + 0.5, reason, fontsize=8, **centre)
        return
    off = row["cases_expected"] + row["cases_wrong"]
    share = [f"{off} of {off + row['cases_right']}"] if off else []
    numbers = [text.number(row[f"error_{dtype}"]) for dtype in ("float64", "float32")]
    small = "\n".join([*share, *filter(None, numbers)])
    word = centre | {"va": "baseline", "fontsize": 8, "weight": "bold"}
    axis.text(x + 0.5, y + (0.28 if small else 0.56), _WORDS.get(verdict, verdict), **word)
    axis.text(x + 0.5, y + 0.62, small, fontsize=6.5, **centre)


def _names(axis: Axes, names: list[str]) -> None:
    axis.set_xticks([position + 0.5 for position in range(len(names))], names)
    axis.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=2)
    for label in axis.get_xticklabels():
        label.set(rotation=40, ha="left", va="bottom", rotation_mode="anchor")


def _versions(axis: Axes, places: dict[str, list[tuple[float, str]]]) -> None:
    """Python beside each row, and PyTorch once beside its rows."""
    rows = [place for own in places.values() for place in own]
    axis.set_yticks([at + 0.5 for at, _ in rows], [python for _, python in rows])
    axis.tick_params(axis="y", length=0)
    beside: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "ha": "right"}
    for torch, own in places.items():
        axis.text(-0.085, (own[0][0] + own[-1][0] + 1) / 2, torch, va="center", weight="bold", fontsize=9, **beside)
    for name, x in (("PyTorch", -0.085), ("Python", -0.008)):
        axis.text(x, -0.12, name, va="bottom", color=style.INK, fontsize=8, **beside)
