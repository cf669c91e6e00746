"""Help to draw figures of dots on a log axis: sections with data, missing columns, and lines between groups of rows."""

import math
from collections.abc import Container, Sequence
from itertools import groupby

from matplotlib.axes import Axes

from analysis.columns.column import Column, plain
from analysis.columns.values import value_of
from analysis.page import Dots
from analysis.statistics.sections import OK, Section
from analysis.store.cells import COMPUTES, computes_order
from analysis.store.load import Experiment
from analysis.tables.legend import why_empty


def has_number(section: Section, column: str) -> bool:
    """Tell whether a section has any number in this column."""
    return any(not math.isnan(value_of(line, column)) for line in section.lines)


def with_data(spec: Dots, section_list: list[Section], experiment: Experiment) -> tuple[list[Section], list[Column]]:
    """Return the sections and the columns that have a number anywhere."""
    values = [name for name in spec.values if any(has_number(section, name) for section in section_list)]
    shown = [section for section in section_list if any(has_number(section, name) for name in values)]
    return shown, [experiment.columns[name] for name in values]


def kinds_in_words(kinds: Sequence[str]) -> str:
    """Return what implementations compute, each kind once, in the order in which it is shown.

    >>> kinds_in_words(["fomaml", "maml", "maml"])
    'second order, first order'
    """
    return ", ".join(COMPUTES.get(kind, kind) for kind in sorted(set(kinds), key=computes_order))


def separate(axes: Sequence[Axes], kinds: Sequence[str]) -> None:
    """Draw a thin line between groups of rows that compute different things, and name the groups at the right.

    kinds: what each row computes, from the top.
    """
    if len(set(kinds)) < 2:
        return
    top = 0
    for kind, rows in groupby(kinds):
        for axis in axes if top else ():
            axis.axhline(top - 0.5, color="0.8", linewidth=0.8, zorder=1)
        axes[-1].text(
            1.01, top - 0.45, COMPUTES.get(kind, kind), transform=axes[-1].get_yaxis_transform(), va="top",
            fontsize=8, style="italic", color="0.45",
        )  # fmt: skip
        top += len(list(rows))


def clean(axis: Axes) -> None:
    """Make the horizontal axis logarithmic, and remove ticks and frame beside the names."""
    axis.set_xscale("log")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def missing(spec: Dots, values: list[Column], experiment: Experiment) -> list[str]:
    """Say why a column of the figure has no panel."""
    shown = {column.name for column in values}
    absent = [experiment.columns.get(name) or plain(name) for name in spec.values if name not in shown]
    return [f"No panel for {column.axis_label}: {why_empty(column.name, experiment)}." for column in absent]


def not_ok(section_list: list[Section], where: str, names: Container[str] | None = None) -> list[str]:
    """Say which implementations lack a dot since they are not ok; `where` is the word for a section, such as panel."""
    status: dict[str, set[str]] = {}
    for section in section_list:
        for line in section.lines:
            name, word = str(line["implementation"]), str(line["status"])
            if word != OK and (names is None or name in names):
                status.setdefault(name, set()).add(word)
    names_in_words = [f"{name} ({', '.join(sorted(words))})" for name, words in sorted(status.items())]
    return [f"Not in every {where}: {'; '.join(names_in_words)}."] if names_in_words else []
