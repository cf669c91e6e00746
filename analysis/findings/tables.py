"""Make tables and pictures from published runs that several pages show."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis import text
from analysis.columns.losses import Difference
from analysis.columns.values import with_ends
from analysis.findings.published import TEXTS, Missing, Run, Table, cell_text, kind
from analysis.statistics import stats
from analysis.statistics.sections import OK
from analysis.store.cells import computes_order
from analysis.tables.slopes import exponent

SECOND_ORDER, HEADLINE = "maml", "tasks100-steps5-shots10-width40"
HEADLINE_ROWS = ("compiled", "jax-mixed-mode", "vectorized", "unrolled", "learn2learn", "higher")


def claim(sentence: str, holds: bool) -> str:
    """Raise `Missing` if the published numbers do not support a sentence of the page; else return an empty text."""
    if not holds:
        raise Missing(f"the published numbers no longer support that {sentence}: change the sentence")
    return ""


def summary(runs: Mapping[str, Run]) -> str:
    """Return README's picture and table of second-order MAML: how accurate and how fast six implementations are."""
    run, checked = runs["timed"], runs["judged"]
    rows = [run.row("cost", case=HEADLINE, dtype="float32", implementation=name) for name in HEADLINE_ROWS]
    judged = checked.rows("metagradient", implementation=HEADLINE_ROWS)
    claim("every implementation in the README is right", set(judged["status"]) == {OK})
    table: Table = {
        "implementation": list(HEADLINE_ROWS),
        "worst error": [text.number(_worst(checked, name)) for name in HEADLINE_ROWS],
        "ms per step": [cell_text(row, "step_ms") for row in rows],
        "speed-up over learn2learn": [cell_text(row, "speedup_vs_learn2learn") for row in rows],
        "first step, s": [cell_text(row, "first_step_cold_s") for row in rows],
        "tensors, MiB": [cell_text(row, "peak_tensor_mib") for row in rows],
    }
    setting = rows[0]
    caption = (
        f"One meta-gradient of {setting['tasks']} tasks with {setting['inner_steps']} inner steps and "
        f"{setting['shots']} shots, on one core: {run.environment}. The worst relative error is in float64, over all "
        "cases of the experiment `metagradient`; rounding alone explains it."
    )
    alt = "Time of one meta-gradient against tasks, inner steps and width, by implementation, log axes"
    picture = runs["growth"].figure("cost_scaling_time", alt, up="")
    return "\n\n".join([picture, caption, text.grid(text.quote_names(table), TEXTS)])


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
    table |= {header: [cell_text(row, column) for row in rows] for column, header in headers.items()}
    return text.grid(text.quote_names(table), TEXTS)


def correctness(run: Run) -> str:
    """Return a table with each implementation's cases, worst error per dtype, and distance from second order."""
    rows = run.rows("metagradient")
    rows = rows.assign(of_tolerance=rows["error"] / rows["tolerance"])
    names = sorted({(computes_order(c), n) for c, n in zip(rows["computes"], rows["implementation"], strict=True)})
    table: Table = {
        name: []
        for name in ("implementation", "computes", "cases", "worst in float32", "worst in float64",
                     "largest share of the tolerance", "distance")
    }  # fmt: skip
    for _, name in names:
        group = rows[rows["implementation"] == name]
        statuses = group.drop_duplicates(["case", "dtype"])["status"].value_counts()
        table["implementation"].append(name)
        table["computes"].append(str(group["computes"].iloc[0]))
        table["cases"].append(", ".join(f"{count} {status}" for status, count in statuses.items()))
        for dtype in ("float32", "float64"):
            table[f"worst in {dtype}"].append(text.number(group[group["dtype"] == dtype]["error"].max()))
        table["largest share of the tolerance"].append(text.number(group["of_tolerance"].max()))
        table["distance"].append(_span(group["distance"]))
    return text.grid(text.quote_names(table), TEXTS)


def exponents(run: Run, quantity: str, factors: Sequence[str]) -> str:
    """Return a table of one quantity's exponents against several factors, for implementations of second-order MAML."""
    rows = run.rows("cost_slopes", quantity=quantity, computes=SECOND_ORDER, factor=factors).to_dict("records")
    names = sorted({str(row["implementation"]) for row in rows})
    exponent_texts = {(row["implementation"], row["factor"]): exponent(row) for row in rows}
    table: Table = {"implementation": names}
    table |= {factor: [exponent_texts.get((name, factor), "") for name in names] for factor in factors}
    return text.grid(text.quote_names(table), TEXTS)


def over_seeds(run: Run, case: str, dtype: str, columns: Sequence[str]) -> str:
    """Return a table of `training` with a line per implementation: means over seeds with 95 % t intervals."""
    rows = run.rows("training", case=case, dtype=dtype, status=OK)
    lines = []
    for name, group in rows.groupby("implementation"):
        line = group.iloc[0].to_dict() | {"implementation": name, "seeds": len(group)}
        for column in columns:
            if not isinstance(kind(column), Difference):  # a Difference is over the seeds already
                line |= dict(zip(with_ends(column), stats.t_interval(group[column]), strict=True))
        lines.append(line)
    table: Table = {name: [str(line[name]) for line in lines] for name in ("implementation", "seeds")}
    table |= {column: [cell_text(line, column) for line in lines] for column in columns}
    return text.grid(text.quote_names(table), TEXTS)


def _worst(run: Run, name: str) -> float:
    errors = run.rows("metagradient", implementation=name, dtype="float64", status=OK)["error"]
    return float(errors.max())


def _span(values: pd.Series) -> str:
    """Return the smallest and the largest number as a range; empty if there are none."""
    low, high = values.min(), values.max()
    return "" if low != low else f"{text.number(low)}–{text.number(high)}"


REGIONS: dict[str, Callable[[Mapping[str, Run]], str]] = {"summary": summary, "sharding": sharding}
