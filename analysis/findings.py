"""Fill docs/findings.md, and the tables that other pages quote, from the published results.

`python -m analysis.findings` (`make findings`) writes

- `docs/findings.md` from the template `findings.md.in` beside this file, in which every number is looked up;
- what stands between `<!-- filled: NAME -->` and `<!-- end -->` in README.md and docs/scale.md.

Every number comes from the CSV files in `results/published/RUN/tables`, by implementation and case. A row, column or
figure that is not there is an error of one line. So is a sentence that the published numbers no longer support: a
template states what it says with `claim`.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis import text
from analysis.declaration import Declaration
from analysis.statistics import stats
from analysis.statistics.columns import BREAKEVEN
from analysis.statistics.sections import OK, number_of, value_of
from analysis.statistics.stats import Interval
from analysis.store.cells import computes_order
from analysis.tables.slopes import exponent
from analysis.tables.tidy import cell_text

ROOT = Path(__file__).parent.parent
TEMPLATE = Path(__file__).with_name("findings.md.in")
FINDINGS = Path("docs", "findings.md")
FILLED = (Path("README.md"), Path("docs", "scale.md"))
RUNS = {
    "reference": "cpu-amd-epyc-2-cores",
    "growth": "cpu-amd-epyc-2-cores-growth",
    "one_graph": "cpu-amd-epyc-2-cores-one-graph",
}
"""The published runs, by the name that templates give them."""
SECOND_ORDER, HEADLINE = "maml", "tasks100-steps5-shots10-width40"
HEADLINE_ROWS = ("compiled", "jax-mixed-mode", "vectorized", "unrolled", "learn2learn", "higher")
_DECLARED = Declaration("", compare="query_loss")  # how cells of any experiment are shown
_TEXTS = ("implementation", "computes", "cases", "setting", "mode", "verdict")
_REGION = re.compile(r"(<!-- filled: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Where = str | int | float | Sequence[str | int | float]
Table = dict[str, list[str]]
Row = Mapping[Any, Any]


class Missing(Exception):
    """Something that a page shows is not among the published results, or is not what the page says of it."""


class Run:
    """One published run: its tables as numbers, text and Markdown, and links to it from a page in `docs/`."""

    def __init__(self, name: str, published: Path) -> None:
        self.name, self.folder = name, published / name

    def rows(self, table: str, **where: Where) -> pd.DataFrame:
        """Return the rows of a table whose columns hold the given values; of several round groups the newest.

        Raises `Missing` where the table or a column is not there, or no row is left.
        """
        found = _read(self.folder / "tables" / f"{table}.csv")
        for column, wanted in where.items():
            self._column(table, found, column)
            values = [wanted] if isinstance(wanted, str | int | float) else list(wanted)
            found = found[found[column].isin(values)]
        if found.empty:
            raise Missing(f"{self.name}/tables/{table}.csv: no row with {_spelled(where)}")
        if "round_group" in found and found["round_group"].nunique() > 1 and "case" in where:
            sizes = found.groupby("round_group").size()
            found = found[found["round_group"] == max(sizes.index, key=lambda group: (sizes[group], group))]
        return found

    def row(self, table: str, **where: Where) -> Row:
        """Return the one row with the given values."""
        found = self.rows(table, **where)
        if len(found) != 1:
            raise Missing(f"{self.name}/tables/{table}.csv: {len(found)} rows with {_spelled(where)}, not one")
        row: Row = found.iloc[0].to_dict()
        return row

    def number(self, table: str, column: str, **where: Where) -> float:
        """Return the number in one column of one row."""
        found = number_of(self._cell(table, column, where))
        if found != found:
            raise Missing(f"{self.name}/tables/{table}.csv: no number in {column} with {_spelled(where)}")
        return found

    def cell(self, table: str, column: str, **where: Where) -> str:
        """Return one column of one row as tables show it, with its interval and verdict."""
        self._cell(table, column, where)
        return shown(self.row(table, **where), column)

    def times(self, table: str, column: str, **where: Where) -> str:
        """Return a ratio for a sentence: "1.41 times (1.38–1.44)"."""
        self.number(table, column, **where)
        row = self.row(table, **where)
        ends = Interval(*(value_of(row, f"{column}{end}") for end in ("", "_lo", "_hi")))
        return text.ratio(ends, "").strip().replace("×", " times")

    def table(self, table: str, columns: Mapping[str, str] | Sequence[str], **where: Where) -> str:
        """Return rows as a Markdown table, as far as they have been measured.

        columns: the columns of the CSV, or these with the headers to show; the implementation comes first.
        """
        rows = [row for row in self.rows(table, **where).to_dict("records") if row.get("status", OK) == OK]
        if not rows:
            raise Missing(f"{self.name}/tables/{table}.csv: no row with {_spelled(where)} is ok")
        headers = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
        for column in headers:
            if column not in ("published", *rows[0]):
                self._column(table, self.rows(table, **where), column)
        first = next(iter(headers))
        rows.sort(key=lambda row: (computes_order(str(row.get("computes", ""))), *_rank(row, first)))
        cells: Table = {"implementation": [str(row["implementation"]) for row in rows]}
        cells |= {header: [shown(row, column) for row in rows] for column, header in headers.items()}
        return text.grid(text.named({name: values for name, values in cells.items() if any(values)}), _TEXTS)

    def figure(self, name: str, alt: str, up: str = "../") -> str:
        """Return one of its plots as an image 800 pixels wide; `up` leads from the page to the project."""
        if not (self.folder / "plots" / f"{name}.png").is_file():
            raise Missing(f"{self.name}/plots/{name}.png: there is no such plot")
        return f'<img src="{up}results/published/{self.name}/plots/{name}.png" width="800" alt="{alt}">'

    def link(self, table: str) -> str:
        """Return the address of a table, from a page in `docs/`."""
        if not (self.folder / "tables" / f"{table}.md").is_file():
            raise Missing(f"{self.name}/tables/{table}.md: there is no such table")
        return f"../results/published/{self.name}/tables/{table}.md"

    @property
    def home(self) -> str:
        """Its folder, from a page in `docs/`."""
        return f"../results/published/{self.name}"

    @property
    def environment(self) -> str:
        """Versions and processor, as its table of `cost` names them."""
        found = re.findall(r"^Environment `\w+`: (.*)\.$", (self.folder / "tables" / "cost.md").read_text(), re.M)
        if not found:
            raise Missing(f"{self.name}/tables/cost.md: no line names the environment")
        return "; ".join(found)

    def _cell(self, table: str, column: str, where: Mapping[str, Where]) -> object:
        self._column(table, self.rows(table, **where), column)
        return self.row(table, **where)[column]

    def _column(self, table: str, rows: pd.DataFrame, column: str) -> None:
        if column not in rows:
            raise Missing(f"{self.name}/tables/{table}.csv: no column {column}")


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of every page that is filled, by its path within the project."""
    published = root / "results" / "published"
    runs = {word: Run(name, published) for word, name in RUNS.items()}
    found = {FINDINGS: text.wrapped(_filled_template(runs, published))}
    for page in FILLED:
        found[page] = _with_regions((root / page).read_text(), runs)
    return found


def main() -> int:
    """Write every page; where a number is missing, say which in one line and write none."""
    try:
        found = pages()
    except Missing as error:
        print(f"findings: {error}", file=sys.stderr)
        return 1
    for page, content in found.items():
        (ROOT / page).write_text(content)
        print(f"written: {page}")
    return 0


def shown(row: Row, column: str) -> str:
    """Return one column of a row for people: with its interval, and with its verdict where it has one.

    >>> shown({"accuracy": 95.2, "accuracy_lo": 94.4, "accuracy_hi": 95.9}, "accuracy")
    '95.2 (94.4–95.9)'
    >>> shown({"published": 1.17, "published_half_width": 0.16}, "published")
    '1.17 ± 0.16'
    """
    if column == "published":
        value, half = value_of(row, column), value_of(row, f"{column}_half_width")
        return "" if value != value else f"{value:g}" if half != half else f"{value:g} ± {half:g}"
    if column == "loss" and value_of(row, "seeds_not_finite") > 0:
        return f"not finite ({row['seeds_not_finite']:g} of {row['seeds']:g} seeds)"
    if column == "difference":
        ends = Interval(*(value_of(row, f"{column}{end}") for end in ("", "_lo", "_hi")))
        return text.interval(ends, sign=True)
    if column == "exponent":
        return exponent(row)
    if column == BREAKEVEN and isinstance(row[column], str):  # a column that also says `never`
        return row[column] if not row[column].isdigit() else text.number(float(row[column]))
    if column == "allreduce_bytes":
        return f"{row[column]:,}"
    return cell_text(row, column, _DECLARED)


def summary(runs: Mapping[str, Run]) -> str:
    """Return README's picture and table: six implementations of second-order MAML, how right and how fast they are."""
    run = runs["reference"]
    rows = [run.row("cost", case=HEADLINE, dtype="float32", implementation=name) for name in HEADLINE_ROWS]
    judged = run.rows("metagradient", implementation=HEADLINE_ROWS)
    claim("every implementation in the README is right", set(judged["status"]) == {OK})
    table: Table = {
        "implementation": list(HEADLINE_ROWS),
        "worst error": [text.number(_worst(run, name)) for name in HEADLINE_ROWS],
        "ms per step": [shown(row, "step_ms") for row in rows],
        "speed-up over learn2learn": [shown(row, "speedup_vs_learn2learn") for row in rows],
        "first step, s": [shown(row, "first_step_cold_s") for row in rows],
        "tensors, MiB": [shown(row, "peak_tensor_mib") for row in rows],
    }
    setting = rows[0]
    caption = (
        f"One meta-gradient of {setting['tasks']} tasks with {setting['inner_steps']} inner steps and "
        f"{setting['shots']} shots, on one core: {run.environment}. The worst relative error is in float64, over all "
        "cases of the experiment `metagradient`; rounding alone explains it."
    )
    alt = "Time of one meta-gradient against tasks, inner steps and width, by implementation, log axes"
    picture = runs["growth"].figure("cost_scaling_time", alt, up="")
    return "\n\n".join([picture, caption, text.grid(text.named(table), _TEXTS)])


def sharding(runs: Mapping[str, Run]) -> str:
    """Return the table of `docs/scale.md`: what sharding a meta-batch over ranks gains."""
    settings = {
        "notebook-ranks2": "notebook, 10 tasks",
        "many-tasks-ranks2": "100 tasks, 5 inner steps",
        "few-shot-cnn-ranks2": "few-shot CNN, 8 tasks",
        "notebook-ranks3": "notebook, oversubscribed",
    }
    gains = {
        case: runs["reference"].number("sharding", "efficiency", case=case, implementation="compiled")
        for case in ("notebook-ranks2", "few-shot-cnn-ranks2")
    }
    claim("compiled loses by sharding the notebook's meta-batch over 2 ranks", gains["notebook-ranks2"] < 0.5)
    claim("compiled gains by sharding the few-shot CNN's meta-batch over 2 ranks", gains["few-shot-cnn-ranks2"] > 0.75)
    rows = [
        {"setting": setting, **runs["reference"].row("sharding", case=case, implementation=name)}
        for case, setting in settings.items()
        for name in (("unrolled",) if "oversubscribed" in setting else ("unrolled", "compiled"))
    ]
    headers = {
        "ranks": "ranks",
        "single_ms": "t₁, ms",
        "step_ms": "t_N, ms",
        "efficiency": "efficiency",
        "allreduce_ms": "all-reduce, ms",
        "allreduce_bytes": "bytes",
    }
    table: Table = {name: [str(row[name]) for row in rows] for name in ("setting", "implementation")}
    table |= {header: [shown(row, column) for row in rows] for column, header in headers.items()}
    return text.grid(text.named(table), _TEXTS)


REGIONS: dict[str, Callable[[Mapping[str, Run]], str]] = {"summary": summary, "sharding": sharding}


def correctness(run: Run) -> str:
    """Return a line per implementation: its cases, its worst error in each dtype, its distance from second order."""
    rows = run.rows("metagradient")
    rows = rows.assign(of_tolerance=rows["error"] / rows["tolerance"])
    names = sorted({(computes_order(c), n) for c, n in zip(rows["computes"], rows["implementation"], strict=True)})
    table: Table = {
        name: []
        for name in ("implementation", "computes", "cases", "worst in float32", "worst in float64",
                     "largest share of the tolerance", "distance")
    }  # fmt: skip
    for _, name in names:
        own = rows[rows["implementation"] == name]
        statuses = own.drop_duplicates(["case", "dtype"])["status"].value_counts()
        table["implementation"].append(name)
        table["computes"].append(str(own["computes"].iloc[0]))
        table["cases"].append(", ".join(f"{count} {status}" for status, count in statuses.items()))
        for dtype in ("float32", "float64"):
            table[f"worst in {dtype}"].append(text.number(own[own["dtype"] == dtype]["error"].max()))
        table["largest share of the tolerance"].append(text.number(own["of_tolerance"].max()))
        table["distance"].append(_span(own["distance"]))
    return text.grid(text.named(table), _TEXTS)


def exponents(run: Run, quantity: str, factors: Sequence[str]) -> str:
    """Return the exponents of one quantity against several factors, for all that compute second-order MAML."""
    rows = run.rows("cost_slopes", quantity=quantity, computes=SECOND_ORDER, factor=factors).to_dict("records")
    names = sorted({str(row["implementation"]) for row in rows})
    said = {(row["implementation"], row["factor"]): exponent(row) for row in rows}
    table: Table = {"implementation": names}
    table |= {factor: [said.get((name, factor), "") for name in names] for factor in factors}
    return text.grid(text.named(table), _TEXTS)


def over_seeds(run: Run, case: str, dtype: str, columns: Sequence[str]) -> str:
    """Return a line per implementation of `training`: means over seeds with 95 % t intervals."""
    rows = run.rows("training", case=case, dtype=dtype, status=OK)
    lines = []
    for name, own in rows.groupby("implementation"):
        line = own.iloc[0].to_dict() | {"implementation": name, "seeds": len(own)}
        for column in columns:
            if not column.endswith("_difference"):  # which is over the seeds already
                line |= dict(zip((column, f"{column}_lo", f"{column}_hi"), stats.t_interval(own[column]), strict=True))
        lines.append(line)
    table: Table = {name: [str(line[name]) for line in lines] for name in ("implementation", "seeds")}
    table |= {column: [shown(line, column) for line in lines] for column in columns}
    return text.grid(text.named(table), _TEXTS)


def claim(sentence: str, holds: bool) -> str:
    """Raise `Missing` where the published numbers do not support a sentence of the page; print nothing."""
    if not holds:
        raise Missing(f"the published numbers no longer support that {sentence}: change the sentence")
    return ""


def _filled_template(runs: Mapping[str, Run], published: Path) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    functions = {
        "correctness": correctness,
        "exponents": exponents,
        "over_seeds": over_seeds,
        "claim": claim,
        "number": text.number,
    }
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(**runs, **functions, compatibility=_read(published / "compatibility" / "compatibility.csv"))


def _with_regions(page: str, runs: Mapping[str, Run]) -> str:
    return _REGION.sub(lambda region: f"{region[1]}\n{text.wrapped(REGIONS[region[2]](runs))}\n{region[3]}", page)


@cache
def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise Missing(f"{file.parent.parent.name}/{file.parent.name}/{file.name}: there is no such table")
    return pd.read_csv(file, dtype={"round_group": str, "environment": str, "torch": str, "python": str})


def _worst(run: Run, name: str) -> float:
    found = run.rows("metagradient", implementation=name, dtype="float64", status=OK)["error"]
    return float(found.max())


def _span(values: pd.Series) -> str:
    """Return the smallest and the largest number, or nothing where there is none."""
    low, high = values.min(), values.max()
    return "" if low != low else f"{text.number(low)}–{text.number(high)}"


def _rank(row: Row, column: str) -> tuple[float, str]:
    value = value_of(row, column)
    return (value if value == value else float("inf")), str(row["implementation"])


def _spelled(where: Mapping[str, object]) -> str:
    return ", ".join(f"{column} {value}" for column, value in where.items()) or "anything"


if __name__ == "__main__":
    sys.exit(main())
