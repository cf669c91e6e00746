"""Draw the compatibility table: implementations down, versions across, and in each cell how many cases are right."""

import textwrap
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis import text
from analysis.checks.compatibility import EVERYTHING, MEANINGS, NAME, NAMES, UNAVAILABLE, count_served, titles
from analysis.figures import style
from analysis.figures.plots import FORMATS, encode

# Paul Tol's "light" scheme, which suits all kinds of colour vision and is made to be written on (SRON/EPS/TN/09-002).
COLOURS = {"right": "#BBDDEE", "expected": "#EEDD88", "wrong": "#EE8866", UNAVAILABLE: "#E4E4E4"}
_ROW, _COLUMN = 0.55, 0.64  # inches; a column is at least this wide, so that its words fit
_MARGIN = 2.2  # inches for the names
_GAP = 0.1  # between versions of PyTorch, as a fraction of a column


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """Return the content of each file of the figure, by file name."""
    with mpl.rc_context(style.rc()):
        figure = draw(table)
        return {f"{NAME}.{ending}": encode(figure, ending) for ending in FORMATS}


def draw(table: pd.DataFrame) -> Figure:
    """Draw a column of cells per pair of versions, or one tall cell with the reason if it could not be checked."""
    names = titles(table)
    rows = {name: position for position, name in enumerate(names)}
    pairs = table.groupby(["torch", "python"], sort=False)
    height = max(len(names), 4)  # leaves room for a reason
    figure = Figure(
        figsize=(max(style.WIDTH, _MARGIN + _COLUMN * pairs.ngroups), 2.4 + _ROW * height), layout="constrained"
    )
    axis = figure.subplots()
    left = 0.0
    places: dict[str, list[tuple[float, str]]] = {}
    for (torch, python), group in pairs:
        left += _GAP if places and torch not in places else 0.0
        places.setdefault(torch, []).append((left, python))
        for row in group.to_dict("records"):
            if row["implementation"] == EVERYTHING:
                _absent(axis, row, left, height)
            else:
                _cell(axis, row, left, rows[row["implementation"]])
        left += 1
    axis.set_xlim(0, left)
    axis.set_ylim(height, 0)
    axis.set_yticks([position + 0.5 for position in rows.values()], list(names.values()))
    axis.tick_params(axis="y", length=0)
    _versions(axis, places)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return style.finish(
        figure, "Which implementation computes the right meta-gradient with which PyTorch and Python", *_legend(table)
    )


def _cell(axis: Axes, row: dict[Any, Any], x: float, y: float) -> None:
    """Draw a cell: the outcome in a word or two, and below it the number of cases and the errors."""
    verdict = row["verdict"]
    _patch(axis, verdict, x, y, 1)
    off = f"of {count_served(row)}" if verdict in ("expected", "wrong") else ""
    absent = f"{row['cases_unavailable']} n/a" if row["cases_unavailable"] and verdict != UNAVAILABLE else ""
    numbers = [text.number(row[f"error_{dtype}"]) for dtype in ("float64", "float32")]
    small = "\n".join(filter(None, [", ".join(filter(None, [off, absent])), *numbers]))
    centre: dict[str, Any] = {"ha": "center", "va": "center", "color": "0.1"}
    axis.text(x + 0.5, y + (0.18 if small else 0.5), _word(row), fontsize=7.5, weight="bold", **centre)
    axis.text(x + 0.5, y + 0.63, small, fontsize=6.5, linespacing=1.15, **centre)


def _word(row: dict[Any, Any]) -> str:
    count_fields = {"right": "cases_right", "expected": "cases_expected", "wrong": "cases_wrong"}
    words = {"right": "right", "expected": "off", "wrong": "wrong"}
    verdict = row["verdict"]
    return f"{row[count_fields[verdict]]} {words[verdict]}" if verdict in count_fields else "n/a"


def _absent(axis: Axes, row: dict[Any, Any], x: float, height: int) -> None:
    """Draw the tall cell of a pair of versions that could not be checked, with the reason."""
    _patch(axis, row["verdict"], x, 0, height)
    reason = textwrap.shorten(f"{row['verdict']}: {row['reason']}", 14 * height, placeholder=" …")
    lines = textwrap.fill(reason, 7 * height)
    axis.text(x + 0.5, height / 2, lines, rotation=90, fontsize=8, ha="center", va="center", color="0.1")


def _patch(axis: Axes, verdict: str, x: float, y: float, height: float) -> None:
    axis.add_patch(Rectangle((x, y), 1, height, facecolor=COLOURS[verdict], edgecolor="white", linewidth=2))


def _versions(axis: Axes, places: dict[str, list[tuple[float, str]]]) -> None:
    """Write the Python version above each column, and the PyTorch version once above its columns."""
    columns = [place for group in places.values() for place in group]
    axis.set_xticks([left + 0.5 for left, _ in columns], [python for _, python in columns])
    axis.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0, pad=2)
    above: dict[str, Any] = {"textcoords": "offset points", "xycoords": axis.get_xaxis_transform(), "va": "bottom"}
    for torch, group in places.items():
        middle = (group[0][0] + group[-1][0] + 1) / 2
        axis.annotate(torch, (middle, 1), xytext=(0, 18), ha="center", weight="bold", fontsize=9, **above)
    for name, offset in (("PyTorch", 18), ("Python", 4)):
        axis.annotate(name, (0, 1), xytext=(-6, offset), ha="right", fontsize=8, color=style.INK, **above)


def _legend(table: pd.DataFrame) -> tuple[list[Any], list[str]]:
    """Return a patch for each verdict that occurs, and a caption that explains them."""
    used = [verdict for verdict in COLOURS if verdict in set(table["verdict"])]
    caption = [
        "How many of the cases that it serves are right, or else how many are not, and of how many; how many it does "
        "not serve (n/a); the worst error against the oracle, in float64 and below it in float32."
    ]
    caption += [f"{NAMES[verdict].capitalize()}: {MEANINGS[verdict]}." for verdict in used]
    return [Patch(color=COLOURS[verdict], label=NAMES[verdict]) for verdict in used], caption
