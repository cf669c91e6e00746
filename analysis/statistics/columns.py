"""The columns that follow from samples, observations and series: times, ratios, losses, comparisons, agreement."""

import math
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.declaration import Agreement, Declaration, Trend
from analysis.statistics import stats
from analysis.store.cells import Cell, Numbers, Value
from analysis.store.load import Experiment

BREAKEVEN = "breakeven_steps"
STEP, FIRST_STEP = "step_ms", "first_step_cold_s"  # what it is computed from
REFERENCE = "reference"  # the verdict of a row that others are compared with
PREFERRED = {"maml": "unrolled", "fomaml": "fomaml", "reptile": "reptile", "pretraining": "pretraining"}


def with_computed(experiment: Experiment) -> pd.DataFrame:
    """`experiment.rows` and the computed columns, each set of them beside the column that it explains."""
    declared = experiment.declaration
    computed: list[dict[str, Value]] = [{} for _ in experiment.cells]
    together = grouped(experiment.cells, _turns)
    same_case = grouped(experiment.cells, lambda cell: cell.case.id)
    same_setting = grouped(experiment.cells, lambda cell: cell.case.setting)
    compared: dict[Hashable, dict[str, Value]] = {}
    for cell, columns in zip(experiment.cells, computed, strict=True):
        if "verdict" in declared.columns:
            columns["verdict"] = cell.verdict
        for name, processes in cell.samples.items():
            columns |= _named(name, stats.time_interval(processes))
        for name, values in cell.observations.items():
            columns |= _named(name, stats.mean_interval(values))
        for reference in declared.references:
            columns |= _ratio(cell, reference, together[_turns(cell)], declared.ratio_of)
        columns |= _breakeven(cell, together[_turns(cell)])
        if declared.compare in cell.observations:
            over_seeds = (cell.case.setting, cell.computes, cell.implementation, cell.environment)
            if over_seeds not in compared:
                compared[over_seeds] = _comparison(cell, same_setting[cell.case.setting], declared.compare)
            columns |= compared[over_seeds]
        if declared.agreement:
            columns |= _agreement(cell, same_case[cell.case.id], declared.agreement)
        if declared.trend:
            columns |= _trend(cell, declared.trend)
    extra = pd.DataFrame(computed, index=pd.RangeIndex(len(computed), name="cell"))
    if BREAKEVEN in extra.columns:
        extra[BREAKEVEN] = extra[BREAKEVEN].convert_dtypes()  # steps stay whole although some rows have none
    rows = experiment.rows
    joined = rows[rows.columns.difference(extra.columns)].join(extra)
    for name in rows.columns.intersection(extra.columns):  # what a row stores stands where nothing was computed
        joined[name] = joined[name].where(joined[name].notna(), rows[name])
    return joined[_ordered(list(rows.columns), list(extra.columns), declared)]


def reference_for(cells: Iterable[Cell], computes: str) -> str:
    """The implementation that those which compute the same are compared with; empty without any."""
    names = sorted({cell.implementation for cell in cells if cell.computes == computes})
    preferred = PREFERRED.get(computes, "")
    return preferred if preferred in names else next(iter(names), "")


def partner(cell: Cell, candidates: Iterable[Cell]) -> Cell | None:
    """The candidate to compare `cell` with: of its environment where there is one, else the newest."""
    return max(candidates, key=lambda other: (other.environment == cell.environment, other.finished), default=None)


def curve(cell: Cell, series: str, column: str) -> Numbers:
    """One curve of a cell; empty if it has none of these names."""
    return cell.series.get(series, {}).get(column, array("d"))


def curve_reference(cell: Cell, same_case: Iterable[Cell], series: str, column: str) -> Cell | None:
    """The cell of the same case whose curve `cell`'s is measured against, of the same `computes`; None without one."""
    peers = [other for other in same_case if curve(other, series, column)]
    name = reference_for(peers, cell.computes)
    return partner(cell, (other for other in peers if other.implementation == name))


def _named(name: str, interval: stats.Interval) -> dict[str, Value]:
    return {name: interval.value, f"{name}_lo": interval.lo, f"{name}_hi": interval.hi}


def _turns(cell: Cell) -> Hashable:
    """Equal for cells that took turns with each other: only their times are compared."""
    return cell.case.id, cell.round_group


def grouped(cells: Iterable[Cell], by: Callable[[Cell], Hashable]) -> dict[Hashable, list[Cell]]:
    """Cells by what they share, in their order."""
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(by(cell), []).append(cell)
    return groups


def _ratio(cell: Cell, reference: str, together: Iterable[Cell], of: str) -> dict[str, Value]:
    name, verdict = f"speedup_vs_{reference}", f"verdict_vs_{reference}"
    if of not in cell.samples or cell.round_group is None:
        return {}
    if cell.implementation == reference:
        return _named(name, stats.Interval(1.0, 1.0, 1.0)) | {verdict: REFERENCE}
    other = partner(cell, (other for other in together if other.implementation == reference and of in other.samples))
    if other is None:
        return {}
    ratio = stats.ratio_interval(other.samples[of], cell.samples[of])
    return _named(name, ratio) | {verdict: stats.ratio_verdict(ratio)}


def _breakeven(cell: Cell, together: Iterable[Cell]) -> dict[str, Value]:
    """Of one that compiles: after how many steps it has caught up with the fastest that does not."""
    own = _start(cell, compiled=True)
    if own is None or cell.round_group is None:
        return {}
    others = [
        (start, other.implementation)
        for other in together
        if other.computes == cell.computes and (start := _start(other, compiled=False))
    ]
    if not others:
        return {}
    (step_s, first_s), name = min(others)
    steps = stats.breakeven_steps(own[1], own[0], first_s, step_s)
    return {BREAKEVEN: int(steps) if math.isfinite(steps) else "never", "breakeven_against": name}


def _start(cell: Cell, compiled: bool) -> tuple[float, float] | None:
    """Seconds of a step and of the first one; None unless both were measured of an implementation of this kind."""
    row = cell.rows[0] if cell.rows else {}
    first_s = row.get(FIRST_STEP)
    if row.get("compiled") is not compiled or STEP not in cell.samples or not isinstance(first_s, int | float):
        return None
    return stats.time_interval(cell.samples[STEP]).value / 1e3, first_s


def _comparison(cell: Cell, same_setting: Sequence[Cell], of: str) -> dict[str, Value]:
    """Over the seeds, hence the same for all of them."""
    peers = [c for c in same_setting if of in c.observations]
    reference = reference_for(peers, cell.computes)

    def by_seed(implementation: str, environment: str | None = None) -> dict[int, float]:
        """Mean loss by seed; of all environments, `cell`'s own last, so that it wins."""
        mine = [c for c in peers if c.implementation == implementation and environment in (None, c.environment)]
        mine.sort(key=lambda c: (c.environment == cell.environment, c.finished))
        return {-1 if c.case.seed is None else c.case.seed: float(np.mean(c.observations[of])) for c in mine}

    difference, verdict = stats.NOTHING, REFERENCE
    if cell.implementation != reference:
        own = by_seed(cell.implementation, cell.environment)
        difference, verdict = stats.paired_difference(own, by_seed(reference))
    return {f"{of}_reference": reference, **_named(f"{of}_difference", difference), f"{of}_verdict": verdict}


def _agreement(cell: Cell, same_case: Sequence[Cell], declared: Agreement) -> dict[str, Value]:
    own = curve(cell, declared.series, declared.column)
    if not own or cell.case.dtype != declared.dtype:
        return {}
    other = curve_reference(cell, same_case, declared.series, declared.column)
    if other is None:
        return {}
    if other.implementation == cell.implementation:
        return {"agreement": math.nan, "agreement_verdict": REFERENCE}
    distance = stats.agreement(own, curve(other, declared.series, declared.column), declared.first)
    if math.isnan(distance):
        return {}
    return {"agreement": distance, "agreement_verdict": "within" if distance <= declared.tolerance else "beyond"}


def _trend(cell: Cell, declared: Trend) -> dict[str, Value]:
    x, y = (curve(cell, declared.series, column) for column in (declared.x, declared.y))
    if len(x) < 2 or len(y) < 2:
        return {}
    slope = stats.mean_slope(x, y)
    rise = stats.Interval(*(end * (x[-1] - x[0]) for end in slope))
    per_1000 = stats.Interval(*(end * 1000 for end in slope))
    verdict = stats.verdict(rise.lo, rise.hi, -math.inf, declared.most, ("", "within", "beyond"))
    name = declared.y
    return _named(name, rise) | _named(f"{name}_per_1000", per_1000) | {f"{name}_verdict": verdict}


def _parent(name: str, declared: Declaration) -> str:
    """The column that `name` explains or refines; empty if it stands for itself."""
    if name.endswith(("_lo", "_hi")):
        return name[:-3]
    if name.startswith("speedup_vs_"):
        return declared.ratio_of
    if name.startswith("verdict_vs_"):
        return name.replace("verdict", "speedup", 1)
    if declared.compare and name.removeprefix(declared.compare) in ("_reference", "_difference", "_verdict"):
        return declared.compare
    if declared.trend and name.removeprefix(declared.trend.y) in ("_per_1000", "_verdict"):
        return declared.trend.y
    return {"agreement_verdict": "agreement", BREAKEVEN: FIRST_STEP, "breakeven_against": BREAKEVEN}.get(name, "")


def _ordered(stored: Sequence[str], computed: Sequence[str], declared: Declaration) -> list[str]:
    """Stored columns in their order, each followed by the computed ones that belong to it."""
    order: dict[str, None] = {}

    def emit(name: str) -> None:
        if name not in order:
            order[name] = None
            for child in computed:
                if _parent(child, declared) == name:
                    emit(child)

    for name in [*stored, *sorted(computed, key=lambda name: bool(_parent(name, declared)))]:
        emit(name)
    return list(order)
