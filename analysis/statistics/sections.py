"""Rows grouped for people: one section per case and round group, in it one line per implementation, over its seeds."""

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

OK = "ok"
Gaps = dict[tuple[str, str], list[str]]
_LINE = ["implementation", "library_version", "torch_version", "environment", "line"]


@dataclass(frozen=True)
class Section:
    """The rows that may be compared with each other.

    `lines` has one per implementation (and environment, where one was measured in several), best first: by column
    the mean over the seeds that are ok, or the stored value where there is one, None without. `status` is `ok` if any
    seed is; `seeds` counts these, `remarks` says the rest. `params` are the case's. `empty`: of columns that
    others have a value in, by reason, the implementations that are ok and say why they have none.
    """

    case: str
    params: dict[str, Any]
    device: str
    dtype: str
    threads: int | None
    round: int
    rounds: int
    lines: list[Row]
    streams: tuple[str, ...]
    weights: tuple[str, ...]
    environments: tuple[str, ...]
    empty: Gaps

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The lines as a table."""
        return pd.DataFrame(self.lines)


def sections(experiment: Experiment, frame: pd.DataFrame) -> list[Section]:
    """The sections of one experiment, sorted; `frame` comes from `columns.frame.with_computed`.

    Tables, figures and the summary ask for those of the very same frame: they are made once.
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
    """A name for each section: its case, and of device, dtype, threads and round only what tells sections apart.

    in_words: the case by its parameters, unless these do not tell one case from another.
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
    """Which implementations have no value in these columns where others have one: by column and reason."""
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
    """For each row the position, by time, of its round group among those of its case and seed, counted from 1.

    Counting makes the seeds of one case comparable, each of which was timed in groups of its own. Rows that were
    not timed go with the first.
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
    """Plain dictionaries, with None for what is missing: there may be too many to ask pandas for one by one."""
    names = list(frame.columns)  # going through pandas' own for each row would take longer than all the rest
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
    """One implementation over its seeds."""
    ok = [row for row in rows if row["status"] == OK]
    counted = ok or rows
    line: Row = {name: combined([row[name] for row in counted]) for name in counted[0]}
    if len(counted) > 1:
        for column in columns:
            if column.name in counted[0]:
                line |= column.over_seeds(counted)
    return line | {"seeds": len(ok), "remarks": "; ".join(_remarks(rows, len(ok)))}


def _remarks(rows: list[Row], ok: int) -> Iterator[str]:
    """What is not ok and why, the notes of what is, and what is not of today's sources; of several seeds how many."""
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
    """Why lines that are ok have no value where others have one, as far as a cell says so."""
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
    """Best first among those that compute the same; what is not ok comes last, and so does what has no value."""

    def rank(line: Row) -> tuple[object, ...]:
        value = value_of(line, best_first)
        value = math.inf if math.isnan(value) else value
        return line["status"] != OK, computes_order(str(line["computes"])), value, line["implementation"]

    return sorted(lines, key=rank)


def _distinct_values(rows: list[Row], column: str) -> tuple[str, ...]:
    return tuple(sorted({str(row[column]) for row in rows if row[column]}))
