"""Compute the statistics of `docs/measuring.md`, as pure functions on arrays.

Every interval has 95 % coverage. Where the quantity is a time or a ratio it is computed on logarithms, since slow
outliers make times skewed and a ratio and its inverse must give the same answer. The unit that varies is the process,
not the call: calls in one process share its memory layout and are not independent (Kalibera and Jones, *Rigorous
benchmarking in reasonable time*, ISMM 2013).
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

COVERAGE = 0.95
MARGIN = 0.02  # differences within ±2 % count as the same

Processes = Sequence[Sequence[float]]


class Interval(NamedTuple):
    """A value and its 95 % interval; the ends are NaN where the data cannot give one."""

    value: float
    lo: float
    hi: float


NOTHING = Interval(math.nan, math.nan, math.nan)


def t_interval(values: ArrayLike) -> Interval:
    """Return the mean and Student's t interval, m ± t(0.975, n - 1)·s/√n (Student, *Biometrika* 1908).

    `values`: [n], in any unit, which is kept. The ends are NaN below two values.

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return NOTHING
    mean = float(np.add.reduce(x) / x.size)  # x.mean(), in a third of the time
    if x.size == 1:
        return Interval(mean, math.nan, math.nan)
    half = _quantile(x.size - 1) * _deviation(x) / math.sqrt(x.size)
    return Interval(mean, mean - half, mean + half)


def geometric_interval(values: ArrayLike) -> Interval:
    """Return the geometric mean and the t interval of the logarithms.

    `values`: [n], in any unit, which is kept. All NaN unless all values are positive.

    >>> [round(end, 3) for end in geometric_interval([1.0, 2.0, 4.0])]
    [2.0, 0.357, 11.19]
    """
    x = np.asarray(values, dtype=float)
    if not np.minimum.reduce(x, initial=math.inf) > 0:
        return NOTHING
    return Interval(*(float(np.exp(end)) for end in t_interval(np.log(x))))


def medians(processes: Processes) -> NDArray[np.float64]:
    """Return each process' median, [processes]; `processes` holds one list of samples per process, none of them empty.

    >>> medians([[1.0, 2.0, 9.0], [4.0]]).tolist()
    [2.0, 4.0]
    """
    return np.array([_median(process) for process in processes], dtype=float)


def time_interval(processes: Processes) -> Interval:
    """Return the median of the processes' medians, and the t interval over the logarithms of these medians.

    `processes` as in `medians`; the unit is kept. The ends are NaN below two processes.

    >>> [round(end, 3) for end in time_interval([[1.0, 1.0, 7.0], [2.0, 2.0], [4.0]])]
    [2.0, 0.357, 11.19]
    >>> time_interval([[2.0, 3.0, 7.0]])
    Interval(value=3.0, lo=nan, hi=nan)
    """
    if not processes:
        return NOTHING
    per_process = medians(processes)
    _, lo, hi = geometric_interval(per_process)
    return Interval(_median(per_process.tolist()), lo, hi)


def ratio_interval(reference: Processes, candidate: Processes) -> Interval:
    """Return the speed-up, reference time over candidate time: above 1 where the candidate is faster; no unit.

    The i-th processes of both ran side by side and form a pair, and so do their samples of one round, which were taken
    one after the other: that cancels what the machine did meanwhile. A pair's ratio is the median over its rounds; a
    surplus process or sample without a partner is left out. The value is the geometric mean over pairs, with a t
    interval on the logarithms.

    >>> [round(end, 3) for end in ratio_interval([[4.0], [6.0]], [[2.0], [3.0]])]
    [2.0, 2.0, 2.0]
    """
    ratios = []
    with np.errstate(divide="ignore", invalid="ignore"):  # a clock too coarse to see a step gives no ratio
        for reference_times, candidate_times in zip(reference, candidate, strict=False):
            rounds = min(len(reference_times), len(candidate_times))
            logarithms = np.log(reference_times[:rounds]) - np.log(candidate_times[:rounds])
            ratios.append(float(np.exp(_median(logarithms.tolist()))))
    return geometric_interval(ratios) if all(map(math.isfinite, ratios)) else NOTHING


def ratio_verdict(ratio: Interval, margin: float = MARGIN) -> str:
    """Return `faster`, `slower`, `same` or `undecided`, by where the whole interval of a speed-up lies.

    `same` is a claim of its own, not the lack of a difference (two one-sided tests: Schuirmann, *J. Pharmacokinet.
    Biopharm.* 1987).

    >>> [ratio_verdict(Interval(1, *ends)) for ends in [(1.03, 1.1), (0.9, 0.97), (0.99, 1.01), (0.9, 1.1)]]
    ['faster', 'slower', 'same', 'undecided']
    """
    return verdict(ratio.lo, ratio.hi, 1 - margin, 1 + margin, ("slower", "same", "faster"))


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean over held-out tasks ± 1.96 standard errors, s/√n, the convention of few-shot learning.

    `values`: [tasks], the unit is kept. The ends are NaN below two tasks.

    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0])]
    [2.0, 0.868, 3.132]
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2:
        return t_interval(x)
    mean, half = float(x.mean()), 1.96 * _deviation(x) / math.sqrt(x.size)
    return Interval(mean, mean - half, mean + half)


def paired_difference(candidate: Mapping[int, float], reference: Mapping[int, float]) -> tuple[Interval, str]:
    """Return the candidate's mean loss minus the reference's, paired over seeds, with a t interval and a verdict.

    `candidate`, `reference`: mean held-out loss by seed. The verdict is `better`, `worse`, `same` or `undecided`, with
    margins of ±2 % of the reference's mean loss; one seed alone decides nothing. It is empty without a common seed.

    >>> paired_difference({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0, 2: 9.0})
    (Interval(value=-1.0, lo=-1.0, hi=-1.0), 'better')
    """
    seeds = sorted(candidate.keys() & reference.keys())
    difference = t_interval([candidate[seed] - reference[seed] for seed in seeds])
    if not seeds:
        return difference, ""
    margin = MARGIN * abs(float(np.mean([reference[seed] for seed in seeds])))
    return difference, verdict(difference.lo, difference.hi, -margin, margin, ("better", "same", "worse"))


def relative_drift(curve: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return |cᵢ - rᵢ| / |rᵢ| over the entries that both curves have, and 0 where both are 0; no unit.

    >>> relative_drift([1.0, 3.0, 0.0], [1.0, 2.0, 0.0, 7.0]).tolist()
    [0.0, 0.5, 0.0]
    """
    c, r = np.asarray(curve, dtype=float), np.asarray(reference, dtype=float)
    length = min(c.size, r.size)
    distance, scale = np.abs(c[:length] - r[:length]), np.abs(r[:length])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / scale)


def agreement(curve: ArrayLike, reference: ArrayLike, first: int) -> float:
    """Return the largest relative drift over the first entries: NaN without any, infinite where a curve is not finite.

    >>> agreement([1.0, 2.02, 50.0], [1.0, 2.0, 3.0], first=2)
    0.010000000000000009
    """
    drift = relative_drift(curve, reference)[:first]
    if drift.size == 0:
        return math.nan
    return float(np.where(np.isnan(drift), np.inf, drift).max())


def growth_exponent(x: ArrayLike, y: ArrayLike) -> Interval:
    """Fit p of y ~ xᵖ by least squares on logarithms; no unit. `x`, `y`: [n], positive, in any units.

    The t interval is that of the straight line: it is wide where the points scatter and where they lie on a curve, such
    as an overhead that does not grow. The ends are NaN below three points, everything below two.

    >>> [round(end, 9) for end in growth_exponent([1.0, 2.0, 4.0], [3.0, 12.0, 48.0])]
    [2.0, 2.0, 2.0]
    """
    return _line_slope(np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float)))


def growth_per_unit(x: ArrayLike, y: ArrayLike) -> Interval:
    """Fit b of y ~ a + b·x by least squares, in y's unit per 1 of x, with a t interval as in `growth_exponent`.

    >>> [round(end, 9) for end in growth_per_unit([1.0, 2.0, 4.0], [7.0, 9.0, 13.0])]
    [2.0, 2.0, 2.0]
    """
    return _line_slope(np.asarray(x, dtype=float), np.asarray(y, dtype=float))


def mean_slope(x: ArrayLike, y: ArrayLike, stretches: int = 10) -> Interval:
    """Return how fast y changes from the first x to the last, with a t interval over equal stretches of the curve.

    In y's unit per 1 of x; `x`, `y`: [n]. All NaN below two points. Use it for values that climb in steps, such as a
    process' memory: a straight line through all points by least squares would treat each point as independent, and its
    interval would be far too narrow.

    >>> [round(end, 3) for end in mean_slope([0, 1, 2, 3], [5.0, 6.0, 6.0, 8.0])]
    [1.0, -1.484, 3.484]
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.size < 2:
        return NOTHING
    ends = np.unique(np.linspace(0, xs.size - 1, stretches + 1).round().astype(int))
    return t_interval(np.diff(ys[ends]) / np.diff(xs[ends]))


def breakeven_steps(first_s: float, step_s: float, other_first_s: float, other_step_s: float) -> float:
    """Return after how many steps an implementation with a slow first one has caught up with another, in total time.

    first + n·step ≤ other's first + n·other's step holds from n = ceil((first - other first) / (other step - step)) on.
    The result is at least 1, and infinite if the step is not faster, however early it starts. All four in seconds.

    >>> breakeven_steps(first_s=10.0, step_s=0.25, other_first_s=1.0, other_step_s=0.5)
    36.0
    >>> breakeven_steps(1.0, 0.25, 9.0, 0.5), breakeven_steps(1.0, 0.5, 9.0, 0.5)
    (1.0, inf)
    """
    if not step_s < other_step_s:
        return math.inf
    return float(max(1, math.ceil((first_s - other_first_s) / (other_step_s - step_s))))


def _median(values: Sequence[float]) -> float:
    """Return np.median(values), ten times as fast for the few values that are usual; NaN if any value is."""
    ascending = sorted(values)
    middle = len(ascending) // 2
    if any(map(math.isnan, ascending)):
        return math.nan
    return ascending[middle] if len(ascending) % 2 else (ascending[middle - 1] + ascending[middle]) / 2


def _deviation(x: NDArray[np.float64]) -> float:
    """Return x.std(ddof=1), equal to the last bit, in half the time; `x`: [n], at least two values."""
    centred = x - np.add.reduce(x) / x.size
    return math.sqrt(np.add.reduce(centred * centred) / (x.size - 1))


@cache  # curves need it at every point
def _quantile(degrees: int) -> float:
    return float(stats.t.ppf((1 + COVERAGE) / 2, degrees))


def _line_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> Interval:
    if x.size < 2:
        return NOTHING
    fit = stats.linregress(x, y)
    error = float(fit.stderr) if np.ptp(y) else 0.0  # linregress returns NaN for a constant y
    half = _quantile(x.size - 2) * error if x.size > 2 else math.nan
    return Interval(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)


def verdict(lo: float, hi: float, low: float, high: float, words: tuple[str, str, str]) -> str:
    """Return the word for an interval below `low`, inside, or above `high`, and `undecided` if it crosses either.

    >>> [verdict(*ends, -1, 1, ("less", "same", "more")) for ends in [(-3, -2), (-0.5, 0.5), (2, 3), (0, 2)]]
    ['less', 'same', 'more', 'undecided']
    """
    below, inside, above = words
    if lo > high:
        return above
    if hi < low:
        return below
    if low <= lo and hi <= high:
        return inside
    return "undecided"  # also with NaN ends: every comparison above is false
