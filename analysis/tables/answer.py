"""Answer from a results folder, in three tables, who is right, who is fastest and what each implementation costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from analysis import text
from analysis.columns.column import Error
from analysis.columns.times import Ratio
from analysis.columns.values import Row, interval_of
from analysis.statistics import study
from analysis.statistics.sections import OK, Section, labels, sections
from analysis.statistics.stats import Interval
from analysis.store.cells import COMPUTES, Cell, computes_order
from analysis.store.load import Experiment

Table = dict[str, list[str]]
_BAD = ("wrong", "failed", "diverged", "oom", "timeout")


def verdicts(experiments: Sequence[Experiment]) -> Table:
    """Return each implementation's verdict over all cells that were judged, and its largest error in each dtype."""
    errors = {
        id(cell): _errors(cell, experiment)
        for experiment in experiments
        for cell in experiment.cells
        if cell.computes and not cell.misuse
    }
    cells = [cell for experiment in experiments for cell in experiment.cells if id(cell) in errors]
    dtypes = sorted({dtype for by_dtype in errors.values() for dtype in by_dtype}, reverse=True)
    table: Table = {name: [] for name in ("implementation", "computes", "verdict", "cells")}
    table |= {f"worst error in {dtype}": [] for dtype in dtypes}
    for kind, name in sorted({(c.computes, c.implementation) for c in cells}, key=lambda k: (computes_order(k[0]), k)):
        group = [cell for cell in cells if cell.implementation == name and cell.computes == kind]
        counts = Counter(cell.verdict for cell in group if errors[id(cell)] or not cell.ok)
        if not counts:
            continue
        # known limitations are counted, but their errors are expected to be large
        judged_errors = [errors[id(cell)] for cell in group if cell.status != "expected"]
        worst = {
            dtype: max((error[dtype] for error in judged_errors if dtype in error), default=None) for dtype in dtypes
        }
        table["implementation"].append(name)
        table["computes"].append(COMPUTES.get(kind, kind))
        table["verdict"].append(_verdict(counts))
        table["cells"].append(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
        for dtype, value in worst.items():
            table[f"worst error in {dtype}"].append("" if value is None else text.number(value))
    return table


def _errors(cell: Cell, experiment: Experiment) -> dict[str, float]:
    """Return the largest error of a cell in each dtype, over all its rows."""
    largest: dict[str, float] = {}
    for column in (column for column in experiment.columns.values() if isinstance(column, Error)):
        dtype = column.dtype(cell.case.dtype)
        for value in (row.get(column.name) for row in cell.rows):
            if isinstance(value, int | float):
                largest[dtype] = max(largest.get(dtype, float(value)), float(value))
    return largest


def _verdict(counts: Counter[str]) -> str:
    """Return one word for all cells: the worst verdict that occurs, else `unavailable`."""
    words = [verdict for verdict in (*_BAD, "expected", "right", "unavailable") if counts[verdict]]
    return words[0] if words else "unavailable"


def fastest(experiment: Experiment, frame: pd.DataFrame) -> Table:
    """Return the fastest implementation in each setting, and those that cannot be told from it.

    Only implementations that compute the same are compared.

    Uses the verdict on pairs that took turns, which is more precise than comparing two intervals; without one, overlap
    of the intervals.
    """
    quantity = experiment.page.ratio_of
    table: Table = {name: [] for name in ("setting", "computes", "fastest", quantity, "not distinguishable")}
    for label, section in _timed(experiment, frame):
        for kind in sorted({line["computes"] for line in section.lines}, key=computes_order):
            rows = [line for line in section.lines if line["computes"] == kind and line["status"] == OK]
            rows_by_name = {row["implementation"]: row for row in rows if row[quantity] is not None}
            times = {name: interval_of(row, quantity) for name, row in rows_by_name.items()}
            if not times:
                continue
            best = min(times, key=lambda name: times[name].value)
            ratios = {ratio.against: ratio for ratio in experiment.page.ratios}
            close = [
                name for name in times if name != best and not _slower(name, rows_by_name[best], times, best, ratios)
            ]
            values = (label, COMPUTES.get(kind, kind), best, text.interval(times[best]), ", ".join(close))
            for cells, value in zip(table.values(), values, strict=True):
                cells.append(value)
    return {name: cells for name, cells in table.items() if any(cells)}


def _slower(name: str, best: Row, times: dict[str, Interval], first: str, ratios: Mapping[str, Ratio]) -> bool:
    """Tell whether `name` is certainly slower than the implementation `first`, whose row is `best`."""
    verdict = best.get(ratios[name].verdict) if name in ratios else None
    return verdict == "faster" if isinstance(verdict, str) else times[name].lo > times[first].hi


def costs(experiment: Experiment, frame: pd.DataFrame) -> Table:
    """Return the time of each implementation, a column per setting; columns come from different round groups."""
    quantity = experiment.page.ratio_of
    timed_sections = _timed(experiment, frame)
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for label, section in timed_sections:
        for row in section.lines:
            value = interval_of(row, quantity)
            if row["status"] == OK and value.value == value.value:
                texts.setdefault((row["computes"], row["implementation"]), {})[label] = text.number(value.value)
    order = sorted(texts, key=lambda key: (computes_order(key[0]), key[1]))
    table: Table = {"implementation": [name for _, name in order], "computes": [COMPUTES.get(k, k) for k, _ in order]}
    return table | {label: [texts[key].get(label, "") for key in order] for label, _ in timed_sections}


def _timed(experiment: Experiment, frame: pd.DataFrame) -> list[tuple[str, Section]]:
    """Return the timed sections that belong to no scaling study, with their labels."""
    quantity = experiment.page.ratio_of
    if not quantity or quantity not in frame.columns:
        return []
    rows = study.outside(experiment, frame)
    section_list = sections(experiment, rows) if len(rows) else []
    labelled = zip(labels(section_list, in_words=True), section_list, strict=True)
    comparable = [pair for label, section in labelled for pair in _environments(label, section)]
    return [
        (label, section) for label, section in comparable if any(line[quantity] is not None for line in section.lines)
    ]


def _environments(label: str, section: Section) -> list[tuple[str, Section]]:
    """Split a section into one per environment, since only times of one machine are compared."""
    if len(section.environments) < 2:
        return [(label, section)]
    groups: dict[str, list[Row]] = {}
    for line in section.lines:
        groups.setdefault(str(line["environment"]), []).append(line)
    return [(f"{label}, environment {name}", replace(section, lines=groups[name])) for name in sorted(groups)]
