"""Define how figures look: each implementation has one colour, marker and dash in all figures of a results folder."""

import textwrap
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from analysis.store.cells import computes_order

# Paul Tol's "muted" scheme, which suits all kinds of colour vision (SRON/EPS/TN/09-002): darker colours first, since
# coinciding curves are drawn in this order; then colours far from all of these. Black and grey are for references.
COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499",
    "#CC3311", "#0077BB", "#9988EE", "#225555", "#8B5A2B", "#66AA00",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "*", "h")
Option = TypeVar("Option")
Dash = tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = (
    (0, ()),
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (7, 1.5, 1.5, 1.5)),
    (0, (4, 1.2, 1, 1.2, 1, 1.2)),
)
GREY = "0.6"
INK = "0.25"
WIDTH = 8.0  # inches, 800 pixels in a README
FLOOR = 1e-17  # where a log axis shows exact zeros

_RC = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "figure.titlesize": 12,
    "axes.edgecolor": "0.7",
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "maml-bench",  # makes the same data give the same file
    "text.parse_math": False,  # a dollar sign in a name starts no formula
}
_SMALL_PRINT = 115  # characters in a caption line as wide as the figure


class Look(NamedTuple):
    """The colour, marker and dash of one implementation."""

    colour: str
    marker: str
    dash: Dash

    @property
    def layer(self) -> int:
        """Return the drawing order: solid curves first, finer dashes on top, so that coinciding curves stay visible."""
        return DASHES.index(self.dash)

    @property
    def width(self) -> float:
        """Return the line width in points, thinner for higher layers."""
        return (4.0, 2.6, 2.2, 1.8, 1.4)[self.layer]


Looks = dict[str, Look]


def assign(implementations: Iterable[tuple[str, str]]) -> Looks:
    """Assign a look to each implementation, from pairs of (`computes`, name); only the sorted pairs decide.

    Implementations that compute the same are adjacent, since they share panels. A variant has the colour of what it is
    a variant of: `higher-first-order` has that of `higher`. Where a colour is used again, dash and marker differ.
    """
    kind = {}
    for computes, name in sorted(implementations):
        kind[name] = computes  # sorted, so that an empty `computes` is overwritten by another experiment's
    order = sorted(kind, key=lambda name: (computes_order(kind[name]), name))
    families = list(dict.fromkeys(_family(name, order) for name in order))
    looks: Looks = {}
    for i, name in enumerate(order):
        colour = COLOURS[families.index(_family(name, order)) % len(COLOURS)]
        dash = _unused(DASHES, i, {look.dash for look in looks.values() if look.colour == colour})
        alike = {look.marker for look in looks.values() if look.colour == colour or look.dash == dash}
        looks[name] = Look(colour, _unused(MARKERS, i, alike), dash)
    return looks


def _family(name: str, names: Iterable[str]) -> str:
    """Return the shortest name that this one begins with, in whole words; the name itself if there is none."""
    return min((other for other in names if f"{name}-".startswith(f"{other}-")), key=len)


def _unused(options: Sequence[Option], first: int, used: Container[Option]) -> Option:
    """Return the next option that is not used, from position `first` on and around the end; that one if all are."""
    rotated_options = [options[(first + i) % len(options)] for i in range(len(options))]
    return next((option for option in rotated_options if option not in used), rotated_options[0])


def first(cases: Sequence[Option], most: int) -> tuple[list[Option], list[str]]:
    """Return as many cases as a figure has room for, and a line for its caption if cases are left out.

    >>> first(["k1", "k5"], 2), first(["k1", "k5", "k10"], 2)
    ((['k1', 'k5'], []), (['k1', 'k5'], ['The first 2 of 3 cases; the tables have all.']))
    """
    caption = [f"The first {most} of {len(cases)} cases; the tables have all."] if len(cases) > most else []
    return list(cases[:most]), caption


def rc() -> Any:
    """Return the matplotlib settings under which figures are drawn and saved."""
    return {**sns.axes_style("whitegrid"), **_RC}


def decades(axis: Axis) -> None:
    """Label the decades of a log axis as the tables write them: 1e-16."""
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def log_numbers(axis: Axis) -> None:
    """Label a log axis with plain numbers: the decades, and steps between them if there are few."""
    low, high = np.log10(axis.get_view_interval())
    steps = (1.0, 1.5, 2.0, 3.0, 5.0) if high - low < 0.8 else (1.0, 2.0, 5.0) if high - low < 2 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def no_result(axis: Axes) -> None:
    """Write in a panel that there is nothing to show."""
    axis.text(0.5, 0.5, "no result", transform=axis.transAxes, ha="center", color=GREY)


def break_axis(axis: Axes, x: float) -> None:
    """Mark a break in the horizontal axis at x: what is left of it is not in its place on the log axis."""
    axis.text(
        x, 0, "//", transform=axis.get_xaxis_transform(), ha="center", va="center", color="0.5", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def finish(figure: Figure, title: str, handles: list[Line2D], caption: list[str]) -> Figure:
    """Add the title above the figure, and the legend and caption below it."""
    figure.suptitle(title, x=0.01, ha="left")
    small = "\n".join(textwrap.fill(line, _SMALL_PRINT, break_on_hyphens=False) for line in caption)
    if handles:
        columns = 4 if max(len(str(handle.get_label())) for handle in handles) < 20 else 3
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.6, title=small
        )
        legend.set_alignment("left")
        legend.get_title().set(fontsize=8, color=INK, multialignment="left")
    elif small:
        figure.supxlabel(small, fontsize=8, color=INK, x=0.01, ha="left")
    return figure
