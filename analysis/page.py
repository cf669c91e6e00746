"""Describe how an experiment is shown: the columns, tables and figures that a file in `analysis/pages/` declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.columns.column import Column
from analysis.columns.losses import Difference
from analysis.columns.times import Ratio


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What figures of every kind have in common.

    name: of its files; caption: what a reader needs to know besides; where: show only rows with these values, by
    column; studies: whether the cases of scaling studies are shown too.
    """

    name: str
    title: str
    xlabel: str = ""
    ylabel: str = ""
    caption: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    studies: bool = True

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or "\\" in self.name or self.name.startswith("."):
            raise ValueError(f"{self.name!r} cannot name the file of a figure")


@dataclass(frozen=True, kw_only=True)
class Dots(Plot):
    """A figure of dots on a log axis, with a panel for each column in `values`."""

    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Intervals(Dots):
    """A figure with a dot and an interval for each implementation, and a row of panels for each case."""


@dataclass(frozen=True, kw_only=True)
class Points(Dots):
    """A figure with a row for each implementation and, in it, a marker for each case."""


@dataclass(frozen=True, kw_only=True)
class Curves(Plot):
    """A figure of the curves `y` over `x` of a series.

    together: whether all implementations share a panel, instead of only those that compute the same.
    """

    series: str
    x: str
    y: str
    together: bool = False


@dataclass(frozen=True, kw_only=True)
class Drift(Curves):
    """A figure of how far curves have moved from the reference's: the largest relative difference up to each point."""


@dataclass(frozen=True, kw_only=True)
class Scaling(Plot):
    """A figure of how the column `value` grows with one factor at a time.

    factors: axis label by factor, a panel each; lines: title by column, for columns drawn as dashed guides; gradient:
    the implementation of one plain gradient, drawn as a guide; computes: what the implementations shown compute (all if
    empty).
    """

    value: str
    factors: Mapping[str, str]
    lines: Mapping[str, str] = field(default_factory=dict)
    gradient: str = ""
    computes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sketch(Plot):
    """A figure of one task: the true function, its support points, and the predictions `values` of a series."""

    series: str
    x: str
    y: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet(Plot):
    """A figure of few-shot classification episodes, taken from a series."""

    series: str


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """A table of how fast the columns `of` grow with each factor of a study."""

    name: str
    of: tuple[str, ...]
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """A table of the largest `value` for each pair of values of the columns `rows` and `columns`."""

    name: str
    value: str
    rows: str
    columns: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table that compares published numbers with measured ones.

    value: the column that is compared (smaller is better), in rows that the columns `by` distinguish; median: the
    median over tasks, which a few diverged tasks do not move; task_half_width: half of the value's 95 % interval over
    the tasks of one seed; published, half_width: the paper's number and half of its 95 % interval; against: the
    implementation that the others are compared with in pairs; margin: what counts as agreement, as a share of the
    published number.
    """

    name: str
    value: str
    median: str
    task_half_width: str
    published: str
    half_width: str
    by: tuple[str, ...]
    against: str
    margin: float


@dataclass(frozen=True, kw_only=True)
class Page:
    """How an experiment is shown; an experiment without a page is shown with all its columns.

    columns: in the order of the CSV; shown: the names of the columns in the Markdown table, None for all; best_first:
    the column that rows are sorted by.
    """

    question: str = ""
    columns: tuple[Column, ...] = ()
    shown: tuple[str, ...] | None = None
    best_first: str = ""
    tables: tuple[Slopes | Pivot | Reproduction, ...] = ()
    figures: tuple[Plot, ...] = ()

    def __post_init__(self) -> None:
        names = {column.name for column in self.columns}
        if unknown := [name for name in self.shown or () if name not in names]:
            raise ValueError(f"the page shows {', '.join(unknown)}, which is none of its columns")

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Return the columns that compare times with those of references."""
        return tuple(column for column in self.columns if isinstance(column, Ratio))

    @property
    def ratio_of(self) -> str:
        """Return the name of the time that ratios are taken of; empty if there are no ratios."""
        return next((ratio.of for ratio in self.ratios), "")

    @property
    def compared(self) -> str:
        """Return the name of the loss that is compared over seeds; empty if there is none."""
        return next((column.of for column in self.columns if isinstance(column, Difference)), "")
