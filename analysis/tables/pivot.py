"""Make the pivot table of a page: the largest value of a column, by the values of two other columns."""

from typing import Any

import pandas as pd

from analysis import text
from analysis.columns.values import number_of
from analysis.page import Pivot
from analysis.statistics import study
from analysis.statistics.sections import OK
from analysis.store import machines
from analysis.store.cells import computes_order
from analysis.store.load import Experiment


def frame(spec: Pivot, experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per setup and value of the column `rows`, with the largest number for each value of `columns`.

    Rows that are not ok count too, since a large error is what shows them; `status` lists every status that took part.
    `rows` comes from `columns.frame.with_computed`. The result is empty if there is no number.
    """
    if not {spec.value, spec.rows, spec.columns} <= set(rows.columns):
        return pd.DataFrame()
    by = [*study.SETUP, spec.rows, *(["computes"] if spec.rows == "implementation" else [])]
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    values: set[object] = set()
    for row in rows.dropna(subset=[spec.rows, spec.columns]).to_dict("records"):
        value = number_of(row[spec.value])
        if value == value:
            values.add(row[spec.columns])
            name = _header(spec.columns, row[spec.columns])
            line = lines.setdefault(tuple(str(row[key]) for key in by), {key: row[key] for key in by} | {"status": []})
            line[name] = max(line.get(name, value), value)
            line["status"].append(str(row["status"]))
    headers = [_header(spec.columns, value) for value in sorted(values, key=_natural)]
    records = [
        line | {"status": ", ".join(sorted(set(line["status"])))} for _, line in sorted(lines.items(), key=_order)
    ]
    return pd.DataFrame(records, columns=[*by, *headers, "status"])


def markdown(spec: Pivot, experiment: Experiment, table: pd.DataFrame) -> str:
    """Return one Markdown table per setup; `table` comes from `frame`."""
    meaning = experiment.columns[spec.value].meaning
    blocks = [
        f"# {text.escape(experiment.name)}: {text.escape(spec.value)} by {text.escape(spec.columns)}",
        f"The largest {text.code(spec.value)}{f' ({meaning})' if meaning else ''} over all cases with the same "
        f"{text.code(spec.columns)}, including rows that are not ok.",
        machines.sentence(experiment.cells),
    ]
    for label, group in study.setups(table):
        rows = group.to_dict("records")
        lines = {spec.rows: [text.code(str(row[spec.rows])) for row in rows]}
        if "computes" in group:
            lines["computes"] = [text.escape(row["computes"]) for row in rows]
        numbers = [name for name in group.columns if name not in (*study.SETUP, spec.rows, "computes", "status")]
        lines |= {name: [text.number(row[name]) for row in rows] for name in numbers}
        if set(group["status"]) != {OK}:
            lines["status"] = [text.escape(row["status"]) for row in rows]
        blocks += [f"## {label}" if label else "", text.grid(lines, (spec.rows, "computes", "status"))]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _header(column: str, value: object) -> str:
    return f"{column} {value}"


def _natural(value: object) -> tuple[float, list[tuple[str, int]]]:
    """Return a sort key that puts numbers first, in their order, then texts in theirs."""
    number = number_of(value)
    return (number if number == number else float("inf")), text.natural(str(value))


def _order(entry: tuple[tuple[str, ...], dict[str, Any]]) -> tuple[Any, ...]:
    """Return a sort key: by setup, then by what is computed (second order first), then by name."""
    key, line = entry
    setup, name = key[: len(study.SETUP)], key[len(study.SETUP)]
    return setup, computes_order(str(line.get("computes", ""))), text.natural(name)
