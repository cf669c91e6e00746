"""How one experiment is shown: what a file in `analysis/pages/` says of its columns, tables and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.columns.column import Column
from analysis.columns.losses import Difference
from analysis.columns.times import Ratio


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Say what all kinds of figures have in common.

    name: of its files; caption: what its reader should know besides; where: the values, by column, of the rows that are
    shown; studies: whether the points of studies are shown, too.
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
    """Show numbers as dots on a log axis, a panel for each column."""

    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Intervals(Dots):
    """Draw a dot and its interval for each implementation, a row of panels for each case."""


@dataclass(frozen=True, kw_only=True)
class Points(Dots):
    """Draw a row for each implementation, in it a marker for each case."""


@dataclass(frozen=True, kw_only=True)
class Curves(Plot):
    """Draw the curve `y` over `x` of a series; `together`: whatever is computed shares a panel."""

    series: str
    x: str
    y: str
    together: bool = False


@dataclass(frozen=True, kw_only=True)
class Drift(Curves):
    """Draw the largest relative difference of a curve from the reference's so far."""


@dataclass(frozen=True, kw_only=True)
class Scaling(Plot):
    """Draw how the column `value` grows with one factor at a time.

    factors: axis label by factor, a panel each; lines: title by column, of what is drawn as a dashed guide; gradient:
    the implementation of one plain gradient, drawn as a guide; computes: what is shown, everything where it is empty.
    """

    value: str
    factors: Mapping[str, str]
    lines: Mapping[str, str] = field(default_factory=dict)
    gradient: str = ""
    computes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sketch(Plot):
    """Draw a task: the truth, its support points, and the predictions `values` of a series."""

    series: str
    x: str
    y: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet(Plot):
    """Draw episodes of few-shot classification from a series."""

    series: str


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Tabulate how columns grow with the factors of a study."""

    name: str
    of: tuple[str, ...]
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """Tabulate the largest `value` by the values of two columns."""

    name: str
    value: str
    rows: str
    columns: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Tabulate what papers published beside what was measured.

    value: the column that is compared, smaller is better, in rows told apart by the columns `by`; median: the median
    over tasks, which a few that diverge do not move; task_half_width: of the value's 95 % interval over the tasks of
    one seed; published, half_width: the paper's number and its 95 % interval; against: the implementation that others
    are compared with in pairs; margin: what counts as agreement, as a share of the published number.
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
    """Say how an experiment is shown; one that has no page is shown with all its columns.

    columns: in the order in which the CSV has them; shown: the names of those of the Markdown table, None for all;
    best_first: the column that rows are sorted by.
    """

    question: str = ""
    columns: tuple[Column, ...] = ()
    shown: tuple[str, ...] | None = None
    best_first: str = ""
    tables: tuple[Slopes | Pivot | Reproduction, ...] = ()
    figures: tuple[Plot, ...] = ()

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """The columns that compare times with those of references."""
        return tuple(column for column in self.columns if isinstance(column, Ratio))

    @property
    def ratio_of(self) -> str:
        """The time that ratios are made of; empty without one."""
        return next((ratio.of for ratio in self.ratios), "")

    @property
    def compared(self) -> str:
        """The loss that is compared over seeds; empty without one."""
        return next((column.of for column in self.columns if isinstance(column, Difference)), "")
