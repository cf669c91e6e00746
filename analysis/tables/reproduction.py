"""Compare what papers published with what was measured here, with a verdict on each difference.

The difference of two means has four sources of chance: the tasks and the training runs, on either side. Ours are known:
the standard error over test tasks, which all seeds share, and the standard deviation s over S seeds. A published
interval is over tasks only and says nothing about how training runs differ, so s stands for theirs too:

    SE² = (published half-width / 1.96)² + s² + s²/S + (our half-width over tasks / 1.96)²

Intervals have 95 % coverage for all verdicts of a table together (Bonferroni: 1 − 0.05/m for each of m).
"""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as distributions

from analysis import text
from analysis.columns.values import number_of
from analysis.page import Reproduction
from analysis.statistics import stats
from analysis.statistics.sections import OK
from analysis.statistics.stats import Interval
from analysis.store import machines
from analysis.store.load import Experiment

AGREES, NOT_COMPARABLE = "agrees", "not comparable"
_SETTING = ["case", "device", "dtype", "threads"]
_Z = 1.96
_HOW = (
    "`difference` is ours minus the published number, with an interval that holds for all verdicts of this table "
    "together (95 %, Bonferroni). `better` and `worse` mean that all of it lies beyond the margin of ±{margin} % of "
    "the published number, `agrees` that it lies within, `undecided` that it is too wide to tell, mostly since the "
    "published intervals are; `not comparable`: there is no number to compare with, none with an interval, or one seed "
    "alone."
)
_PAIRS = (
    "Means over the same test tasks and seeds, minus those of {against}, with 95 % t intervals over seeds: negative is "
    "better."
)


def frame(spec: Reproduction, experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per setting, implementation and value of `by`, over the seeds that are ok.

    If any seed's mean over tasks is not finite, there is no mean over seeds. `rows` comes from
    `columns.frame.with_computed`. The result is empty if no row has a value.
    """
    if spec.value not in rows or rows[spec.value].isna().all():
        return pd.DataFrame()
    ok = rows[rows["status"] == OK]
    by = [*_SETTING, "implementation", *spec.by]
    lines = [_line(key, group, by, spec) for key, group in ok.groupby(by, dropna=False, sort=True)]
    compared = sum(line["verdict"] == "" for line in lines)
    for line in lines:
        if line["verdict"] == "":
            line |= _verdict(line, spec, compared)
    means = {tuple(line[name] for name in by): line["seed_means"] for line in lines}
    for line in lines:
        other = means.get(tuple(spec.against if name == "implementation" else line[name] for name in by), {})
        line |= _paired(line, other, spec)
        del line["seed_means"], line["standard_error"]
    return pd.DataFrame(lines)


def _line(key: Hashable, rows: pd.DataFrame, by: list[str], spec: Reproduction) -> dict[str, Any]:
    """Return our number and the published one; the verdict is left empty if it can be computed."""
    assert isinstance(key, tuple)
    means = {int(row["seed"]): number_of(row[spec.value]) for row in rows.to_dict("records")}
    infinite = sum(not math.isfinite(mean) for mean in means.values())
    ours = Interval(math.nan, math.nan, math.nan) if infinite else stats.t_interval(list(means.values()))
    tasks = float(pd.to_numeric(rows[spec.task_half_width]).mean())
    theirs = number_of(rows[spec.published].iloc[0]) if spec.published in rows else math.nan
    published_half = number_of(rows[spec.half_width].iloc[0]) if spec.half_width in rows else math.nan
    spread = float(np.std(list(means.values()), ddof=1)) if len(means) > 1 else math.nan
    variance = (published_half / _Z) ** 2 + spread**2 * (1 + 1 / len(means)) + (tasks / _Z) ** 2
    return {
        **dict(zip(by, key, strict=True)),
        "seeds": len(means),
        "seeds_not_finite": infinite,
        spec.value: ours.value,
        f"{spec.value}_lo": ours.lo,
        f"{spec.value}_hi": ours.hi,
        spec.median: float(pd.to_numeric(rows[spec.median]).mean()),
        "tasks_half_width": tasks,
        "published": theirs,
        "published_half_width": published_half,
        "source": str(rows["source"].iloc[0]) if "source" in rows else "",
        "verdict": "" if math.isfinite(theirs) and math.isfinite(variance) else NOT_COMPARABLE,
        "seed_means": means,
        "standard_error": math.sqrt(variance) if math.isfinite(variance) else math.nan,
    }


def _verdict(line: dict[str, Any], spec: Reproduction, compared: int) -> dict[str, Any]:
    """Return the difference with its corrected interval, and the verdict on it."""
    reach = float(distributions.norm.ppf(1 - (1 - stats.COVERAGE) / (2 * compared))) * line["standard_error"]
    difference = line[spec.value] - line["published"]
    ends = {"difference": difference, "difference_lo": difference - reach, "difference_hi": difference + reach}
    margin = spec.margin * abs(line["published"])
    return ends | {
        "verdict": stats.verdict(difference - reach, difference + reach, -margin, margin, ("better", AGREES, "worse"))
    }


def _paired(line: dict[str, Any], other: dict[int, float], spec: Reproduction) -> dict[str, Any]:
    if line["implementation"] == spec.against:
        return {}
    seeds = sorted(line["seed_means"].keys() & other.keys())
    differences = [line["seed_means"][seed] - other[seed] for seed in seeds]
    if not all(map(math.isfinite, differences)):
        return {}
    difference = stats.t_interval(differences)
    name = f"minus_{spec.against}"
    return {name: difference.value, f"{name}_lo": difference.lo, f"{name}_hi": difference.hi}


def markdown(spec: Reproduction, experiment: Experiment, table: pd.DataFrame) -> str:
    """Return the Markdown page: published and measured numbers, then paired differences; `table` is from `frame`."""
    blocks = [f"# {text.escape(experiment.name)}: published and found", _HOW.format(margin=f"{100 * spec.margin:g}")]
    blocks += filter(None, [machines.sentence(experiment.cells)])
    rows = table.to_dict("records")
    difference_name = f"minus_{spec.against}"
    for case in sorted({str(row["case"]) for row in rows}, key=text.natural):
        case_rows = [row for row in rows if str(row["case"]) == case]
        lines: dict[str, list[str]] = {"implementation": [str(row["implementation"]) for row in case_rows]}
        lines |= {name: [text.number(number_of(row[name])) for row in case_rows] for name in spec.by}
        lines |= {
            spec.value: [_mean(row, spec) for row in case_rows],
            "over tasks": ["" if row["seeds_not_finite"] else _spread(row) for row in case_rows],
            spec.median: [text.number(row[spec.median]) for row in case_rows],
            "published": [_published(row) for row in case_rows],
            "difference": [text.interval(_ends(row, "difference"), sign=True) for row in case_rows],
            "verdict": [row["verdict"] for row in case_rows],
            difference_name: [text.interval(_ends(row, difference_name), sign=True) for row in case_rows],
            "source": [text.escape(row["source"]) for row in case_rows],
        }
        filled = {name: cells for name, cells in text.quote_names(lines).items() if any(cells)}
        seeds = sorted({row["seeds"] for row in case_rows})
        words = f"{' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"
        blocks += [f"## {text.escape(case)}", f"{words}.", text.grid(filled, ("implementation", "verdict", "source"))]
    if any(_ends(row, difference_name).value == _ends(row, difference_name).value for row in rows):
        blocks.append(f"`{difference_name}`: {_PAIRS.format(against=f'`{spec.against}`')}")
    return "\n\n".join(blocks) + "\n"


def _mean(row: dict[Any, Any], spec: Reproduction) -> str:
    if row["seeds_not_finite"]:
        return f"not finite ({row['seeds_not_finite']} of {row['seeds']} seeds)"
    return text.interval(_ends(row, spec.value))


def _spread(row: dict[Any, Any]) -> str:
    return f"±{text.number(row['tasks_half_width'])}"


def _published(row: dict[Any, Any]) -> str:
    value, half = number_of(row["published"]), number_of(row["published_half_width"])
    return "" if value != value else f"{value:g}" if half != half else f"{value:g} ± {half:g}"


def _ends(row: dict[Any, Any], name: str) -> Interval:
    return Interval(*(number_of(row.get(f"{name}{end}")) for end in ("", "_lo", "_hi")))
