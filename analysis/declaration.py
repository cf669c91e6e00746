"""What an experiment says of itself: columns, comparisons, figures and further tables (`docs/results.md`)."""

from dataclasses import dataclass, field

from analysis.store import fields
from analysis.store.fields import Json

_CURVE, _DOTS = ("series", "x", "y"), ("values",)
_NEEDS = {
    "curves": _CURVE,
    "drift": _CURVE,
    "intervals": _DOTS,
    "points": _DOTS,
    "scaling": ("values", "factors"),
    "sheet": ("series",),
    "sketch": (*_CURVE, "values"),
}


@dataclass(frozen=True)
class Agreement:
    """A curve whose first entries must agree with the reference's, within a relative tolerance, in one dtype."""

    series: str
    column: str
    first: int
    tolerance: float
    dtype: str


@dataclass(frozen=True)
class Trend:
    """A curve that may rise from its beginning to its end by at most so much, in its own unit."""

    series: str
    x: str
    y: str
    most: float


@dataclass(frozen=True)
class FigureSpec:
    """A figure that an experiment declares; which fields count depends on its kind.

    studies: whether it shows the points of studies, too; together: whether curves of all that is computed share a
    panel; caption: what its reader should know besides.
    """

    name: str
    kind: str
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    series: str = ""
    x: str = ""
    y: str = ""
    values: tuple[str, ...] = ()
    where: dict[str, object] = field(default_factory=dict)
    studies: bool = True
    caption: str = ""
    factors: dict[str, str] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    gradient: str = ""
    computes: tuple[str, ...] = ()
    together: bool = False


@dataclass(frozen=True)
class SlopesSpec:
    """A table of how columns grow with the factors of a study."""

    name: str
    of: tuple[str, ...]
    factors: tuple[str, ...]


@dataclass(frozen=True)
class PivotSpec:
    """A table of the largest `value` by the values of two columns."""

    name: str
    value: str
    rows: str
    columns: str


@dataclass(frozen=True)
class ReproductionSpec:
    """A table of what papers published beside what was found.

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


@dataclass(frozen=True)
class Declaration:
    """What an experiment says of itself."""

    name: str
    question: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    markdown: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    ratio_of: str = ""
    compare: str = ""
    agreement: Agreement | None = None
    best_first: str = ""
    figures: tuple[FigureSpec, ...] = ()
    slopes: SlopesSpec | None = None
    pivot: PivotSpec | None = None
    reproduction: ReproductionSpec | None = None
    trend: Trend | None = None


def parse_declaration(raw: object) -> Declaration:
    """The declaration in `raw`. Raises `ValueError` with one line saying what is wrong."""
    declared = fields.mapping(raw, "the file")
    parts = ("agreement", "slopes", "pivot", "reproduction")
    agreement, slopes, pivot, reproduction = (fields.get(declared, part, dict, None) for part in parts)
    trend = fields.get(declared, "trend", dict, None)
    parsed = Declaration(
        name=fields.get(declared, "name", str),
        question=fields.get(declared, "question", str, ""),
        columns=fields.labels(declared, "columns"),
        markdown=fields.texts(declared, "markdown"),
        references=fields.texts(declared, "references"),
        ratio_of=fields.get(declared, "ratio_of", str, ""),
        compare=fields.get(declared, "compare", str, ""),
        agreement=None if agreement is None else _agreement(agreement),
        best_first=fields.get(declared, "best_first", str, ""),
        figures=tuple(_figure(figure) for figure in fields.get(declared, "figures", list, [])),
        slopes=None if slopes is None else _slopes(slopes),
        pivot=None if pivot is None else _pivot(pivot),
        reproduction=None if reproduction is None else _reproduction(reproduction),
        trend=None if trend is None else _trend(trend),
    )
    tables = [parsed.name, *(t.name for t in (parsed.slopes, parsed.pivot, parsed.reproduction) if t)]
    if twice := [name for name in tables if tables.count(name) > 1]:
        raise ValueError(f"two tables are named {twice[0]!r}")
    return parsed


def _agreement(raw: Json) -> Agreement:
    return Agreement(
        series=fields.get(raw, "series", str),
        column=fields.get(raw, "column", str),
        first=fields.get(raw, "first", int),
        tolerance=float(fields.get(raw, "tolerance", (int, float))),
        dtype=fields.get(raw, "dtype", str),
    )


def _trend(raw: Json) -> Trend:
    texts = {part: fields.get(raw, part, str) for part in ("series", "x", "y")}
    return Trend(**texts, most=float(fields.get(raw, "most", (int, float))))


def _figure(raw: object) -> FigureSpec:
    figure = fields.mapping(raw, "a figure")
    name, kind = _file_name(figure, "a figure"), fields.get(figure, "kind", str)
    if kind not in _NEEDS:
        raise ValueError(f"figure {name!r}: unknown kind {kind!r}")
    _need(figure, _NEEDS[kind], f"figure {name!r}")
    texts = ("title", "xlabel", "ylabel", "series", "x", "y", "caption", "gradient")
    try:
        spec = FigureSpec(
            name=name,
            kind=kind,
            **{part: fields.get(figure, part, str, "") for part in texts},
            values=fields.texts(figure, "values"),
            where=fields.get(figure, "where", dict, {}),
            studies=fields.get(figure, "studies", bool, True),
            together=fields.get(figure, "together", bool, False),
            factors=fields.labels(figure, "factors"),
            lines=fields.labels(figure, "lines"),
            computes=fields.texts(figure, "computes"),
        )
    except ValueError as error:
        raise ValueError(f"figure {name!r}: {error}") from None
    if kind == "scaling" and len(spec.values) > 1:
        raise ValueError(f"figure {name!r}: `values` of a scaling figure is one column")
    return spec


def _slopes(raw: Json) -> SlopesSpec:
    name = _file_name(raw, "`slopes`")
    _need(raw, ("of", "factors"), f"slopes {name!r}")
    return SlopesSpec(name, fields.texts(raw, "of"), fields.texts(raw, "factors"))


def _pivot(raw: Json) -> PivotSpec:
    name = _file_name(raw, "`pivot`")
    _need(raw, ("value", "rows", "columns"), f"pivot {name!r}")
    return PivotSpec(name, *(fields.get(raw, part, str) for part in ("value", "rows", "columns")))


def _reproduction(raw: Json) -> ReproductionSpec:
    name = _file_name(raw, "`reproduction`")
    texts = ("value", "median", "task_half_width", "published", "half_width", "against")
    return ReproductionSpec(
        name=name,
        **{part: fields.get(raw, part, str) for part in texts},
        by=fields.texts(raw, "by"),
        margin=float(fields.get(raw, "margin", (int, float))),
    )


def _file_name(raw: Json, what: str) -> str:
    name: str = fields.get(raw, "name", str)
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"{name!r} cannot name the file of {what}")
    return name


def _need(raw: Json, parts: tuple[str, ...], what: str) -> None:
    if missing := [part for part in parts if not raw.get(part)]:
        raise ValueError(f"{what}: `{missing[0]}` is missing")
