"""Group rows for people: a section per case and round group, with a line per implementation over its seeds."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis import text
from analysis.columns.column import Column
from analysis.columns.values import Row, combined, value_of
from analysis.store.cells import Cell, computes_order
from analysis.store.load import Experiment
from experiments.harness.records import Parameters

OK = "ok"
Gaps = dict[tuple[str, str], list[str]]
_LINE = ["implementation", "library_version", "torch_version", "environment", "line"]


@dataclass(frozen=True)
class Section:
    """The rows that may be compared with each other.

    `lines` has one row per implementation (and environment, if it was measured in several), best first. A column holds
    the mean over the seeds that are ok, or the stored value if there is one seed, or None. `status` is `ok` if any seed
    is; `seeds` counts these, and `remarks` tells the rest. `params` are the case's. `empty` maps a column that has
    values, and the reason why some lack one, to the implementations that are ok and lack it.
    """

    case: str
    params: Parameters
    device: str
    dtype: str
    threads: int
    round: int
    rounds: int
    lines: list[Row]
    streams: tuple[str, ...]
    weights: tuple[str, ...]
    environments: tuple[str, ...]
    empty: Gaps

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Return the lines as a DataFrame."""
        return pd.DataFrame(self.lines)


def sections(experiment: Experiment, frame: pd.DataFrame) -> list[Section]:
    """Return the sections of one experiment, sorted; `frame` comes from `columns.frame.with_computed`.

    They are made once for each frame, since tables, figures and the summary all ask for them.
    """
    for known_frame, known_sections in experiment.sections:
        if known_frame is frame:
            return known_sections
    section_list = _sections(experiment, frame)
    experiment.sections.append((frame, section_list))
    return section_list


def _sections(experiment: Experiment, frame: pd.DataFrame) -> list[Section]:
    lines = frame.groupby(level="cell").cumcount()
    frame = frame.assign(round=_rounds(experiment, frame), line=lines, position=frame.index)
    section_list = []
    for (case, device, dtype, threads), rows in _grouped(
        _records(frame), ["case", "device", "dtype", "threads"]
    ).items():
        rounds = max(row["round"] for row in rows)
        for (number,), group in sorted(_grouped(rows, ["round"]).items()):
            lines = [
                _line(line_rows, experiment.columns.values())
                for _, line_rows in sorted(_grouped(group, _LINE).items(), key=_line_order)
            ]
            cells = [experiment.cells[row["position"]] for row in group]
            section_list.append(
                Section(
                    case=str(case),
                    params=cells[0].case.params,
                    device=str(device),
                    dtype=str(dtype),
                    threads=threads,
                    round=number,
                    rounds=rounds,
                    lines=_sort_lines(lines, experiment.page.best_first),
                    streams=_distinct_values(group, "stream_digest"),
                    weights=_distinct_values(group, "init_digest"),
                    environments=_distinct_values(group, "environment"),
                    empty=_gaps(lines, cells),
                )
            )
    return sorted(section_list, key=_natural_key)


def labels(section_list: list[Section], in_words: bool = False) -> list[str]:
    """Return a name for each section: its case, and its device, dtype, threads and round group where these vary.

    in_words: describe the case by its parameters, unless two cases would get the same description.
    """
    names = [section.case for section in section_list]
    if in_words:
        words = {section.case: text.case_in_words(section.params) or section.case for section in section_list}
        names = [words[name] for name in names] if len(set(words.values())) == len(words) else names
    threads = [f"{section.threads} threads" for section in section_list]
    rounds = [
        f"round group {section.round} of {section.rounds}" if section.rounds > 1 else "" for section in section_list
    ]
    parts = [[s.device for s in section_list], [s.dtype for s in section_list], threads]
    varying = [part for part in parts if len(set(part)) > 1] + [rounds]
    return [", ".join(filter(None, names)) for names in zip(names, *varying, strict=True)]


def gaps(section_list: Iterable[Section], columns: Iterable[str]) -> Gaps:
    """Return the implementations that lack a value others have, by column and reason."""
    merged: Gaps = {}
    for column in columns:
        for section in section_list:
            for (empty, why), names in section.empty.items():
                if empty == column:
                    known = merged.setdefault((column, why), [])
                    known += [name for name in names if name not in known]
    return merged


def _natural_key(section: Section) -> list[tuple[str, int]]:
    return text.natural(f"{section.case} {section.device} {section.dtype} {section.threads} {section.round}")


def _rounds(experiment: Experiment, frame: pd.DataFrame) -> list[int]:
    """Return for each row the number of its round group, by time, among those of its case and seed, counted from 1.

    Numbering makes the seeds of one case comparable, each of which was timed in round groups of its own. Rows that were
    not timed belong to the first.
    """
    group_starts: dict[Hashable, dict[str, str]] = {}
    for cell in experiment.cells:
        if cell.round_group is not None:
            groups = group_starts.setdefault(cell.case.id, {})
            groups[cell.round_group] = min(groups.get(cell.round_group, cell.finished), cell.finished)
    numbers = []
    for position in frame.index:
        cell = experiment.cells[position]
        groups = group_starts.get(cell.case.id, {})
        order = sorted(groups, key=lambda group: (groups[group], group))
        numbers.append(1 if cell.round_group is None else order.index(cell.round_group) + 1)
    return numbers


def _records(frame: pd.DataFrame) -> list[Row]:
    """Return the rows as plain dictionaries, with None for missing values; this is much faster than pandas' own way."""
    names = list(frame.columns)  # pandas' own conversion of each row would take longer than everything else
    columns = [frame[name].astype(object).where(frame[name].notna(), None).to_numpy().tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _grouped(rows: list[Row], by: list[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return groups


def _line_order(group: tuple[tuple[Any, ...], list[Row]]) -> tuple[list[str], int]:
    *names, line = group[0]
    return [str(name) for name in names], line


def _line(rows: list[Row], columns: Iterable[Column]) -> Row:
    """Combine the rows of one implementation over its seeds."""
    ok = [row for row in rows if row["status"] == OK]
    counted = ok or rows
    line: Row = {name: combined([row[name] for row in counted]) for name in counted[0]}
    if len(counted) > 1:
        for column in columns:
            if column.name in counted[0]:
                line |= column.over_seeds(counted)
    return line | {"seeds": len(ok), "remarks": "; ".join(_remarks(rows, len(ok)))}


def _remarks(rows: list[Row], ok: int) -> Iterator[str]:
    """Yield remarks on an implementation's seeds: what is not ok and why, notes, and sources that have changed."""
    remarks: Counter[str] = Counter()
    ages: Counter[str] = Counter()
    for row in rows:
        status = str(row["status"])
        remark = str(row["note"]) if status == OK else ": ".join(filter(None, [status, str(row["reason"])]))
        remarks[remark] += bool(remark)
        ages[row["age"]] += 1
    if 0 < ok < len(rows):
        yield f"{ok} of {len(rows)} seeds ok"
    for remark, count in (*remarks.items(), *ages.items()):
        if remark:
            yield remark if count == len(rows) else f"{count} × {remark}"


def _gaps(lines: list[Row], cells: list[Cell]) -> Gaps:
    """Return which implementations lack a value that others have, where a cell gives the reason."""
    missing: Gaps = {}
    filled = {column for line in lines for column, value in line.items() if value is not None}
    for line in (line for line in lines if line["status"] == OK):
        implementation_cells = [cell for cell in cells if cell.ok and cell.implementation == line["implementation"]]
        reasons = {
            column: why
            for cell in implementation_cells
            for column, why in cell.empty.items()
            if line.get(column) is None
        }
        for column in reasons.keys() & filled:
            missing.setdefault((column, reasons[column]), []).append(str(line["implementation"]))
    return missing


def _sort_lines(lines: list[Row], best_first: str) -> list[Row]:
    """Sort lines best first among those that compute the same; lines that are not ok, or have no value, come last."""

    def rank(line: Row) -> tuple[object, ...]:
        value = value_of(line, best_first)
        value = math.inf if math.isnan(value) else value
        return line["status"] != OK, computes_order(str(line["computes"])), value, line["implementation"]

    return sorted(lines, key=rank)


def _distinct_values(rows: list[Row], column: str) -> tuple[str, ...]:
    return tuple(sorted({str(row[column]) for row in rows if row[column]}))
