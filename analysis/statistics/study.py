"""Collect the points of a study, which varies one factor at a time: an implementation's rows by the factor's value."""

from typing import Any

import pandas as pd

from analysis import text
from analysis.statistics.sections import OK, sections
from analysis.store.load import Experiment

SETUP = ["device", "dtype", "threads"]  # points that differ in one of these are never joined by a line
_WORDS = {"threads": "{} threads", "environment": "environment {}"}


def points(experiment: Experiment, frame: pd.DataFrame, by_environment: bool = False) -> pd.DataFrame:
    """Return a row for each point that is ok: the columns of `Section.rows`, and `factor`, `x` and `rounds`.

    A case that several studies share gives a point to each. If an implementation was timed in several round groups of a
    case, the newest counts, but one in which it was only a reference again never replaces its own; `rounds` is how many
    round groups the case has. by_environment: keep the newest of each environment. Sorted by factor, then x.
    """
    timed_itself = {
        (cell.case.id, cell.implementation) for cell in experiment.cells if cell.ok and not cell.reference_only
    }
    repeats = [cell.reference_only and (cell.case.id, cell.implementation) in timed_itself for cell in experiment.cells]
    is_point = [bool(cell.case.factors) and not repeats[i] for i, cell in enumerate(experiment.cells)]
    frame = frame[[is_point[position] for position in frame.index]]
    factors = {cell.case.setting: cell.case.factors for cell in experiment.cells}
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    # round groups of a case come in the order of time, so that later ones overwrite earlier ones
    for section in sections(experiment, frame) if len(frame) else ():
        setup = {"device": section.device, "dtype": section.dtype, "threads": section.threads}
        for factor, x in factors[section.case, section.device, section.dtype, section.threads].items():
            for row in (line for line in section.lines if line["status"] == OK):
                at = {"factor": factor, "x": x, "rounds": section.rounds, **setup}
                environment = row["environment"] if by_environment else ""
                newest[(*setup.values(), environment, factor, x, row["implementation"])] = row | at
    table = pd.DataFrame(
        newest.values(), columns=None if newest else ["factor", "x", "implementation", "environment", *SETUP]
    )
    return table.sort_values(["factor", "x"], kind="stable").reset_index(drop=True)


def outside(experiment: Experiment, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of cases that are no point of any study."""
    is_point = [bool(experiment.cells[position].case.factors) for position in frame.index]
    return frame[[not point for point in is_point]] if any(is_point) else frame


def setups(points: pd.DataFrame, by: list[str] = SETUP) -> list[tuple[str, pd.DataFrame]]:
    """Split points by device, dtype and threads, each group with a label that tells how it differs from the others."""
    groups = list(points.groupby(by, dropna=False))
    varying = [name for name in by if points[name].nunique(dropna=False) > 1]
    labelled_groups = []
    for setup, group in groups:
        values = dict(zip(by, setup, strict=True))
        words = [_WORDS.get(name, "{}").format(values[name]) for name in varying]
        labelled_groups.append((", ".join(words), group))
    return sorted(labelled_groups, key=lambda group: text.natural(group[0]))


def base(experiment: Experiment, factors: list[str]) -> dict[str, float]:
    """Return the factor values of the case that studies of these factors share; empty without such a case."""
    shared_factors = [
        {factor: cell.case.factors[factor] for factor in factors if factor in cell.case.factors}
        for cell in experiment.cells
    ]
    largest = max(shared_factors, key=len, default={})
    return largest if len(largest) > 1 else {}
