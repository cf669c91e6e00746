"""The statistics against independent computations; known answers are in the docstrings."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, ttest_1samp, ttest_rel

from analysis.statistics import stats
from analysis.statistics.stats import Interval

RNG = np.random.default_rng(0)
times = st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), min_size=2, max_size=6)


def test_t_interval_is_scipys() -> None:
    values = RNG.normal(3, 2, 12)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert stats.t_interval(values) == pytest.approx((values.mean(), expected.low, expected.high))


def test_time_is_the_median_of_medians_with_an_interval_on_logarithms() -> None:
    processes = [RNG.lognormal(1, 0.1, 9).tolist() for _ in range(5)]
    medians = [statistics.median(process) for process in processes]
    expected = ttest_1samp(np.log(medians), 0).confidence_interval(0.95)
    value, lo, hi = stats.time_interval(processes)
    assert value == statistics.median(medians)
    assert (lo, hi) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_one_outlying_call_moves_nothing() -> None:
    assert stats.time_interval([[1.0, 1.0, 1000.0], [1.0, 1.0, 1.0]]) == Interval(1.0, 1.0, 1.0)


def test_one_process_has_no_interval_and_none_has_nothing() -> None:
    one, none = stats.time_interval([[1.0, 3.0]]), stats.time_interval([])
    assert one.value == 2.0
    assert all(map(math.isnan, (one.lo, one.hi, *none)))


def test_a_clock_that_reads_zero_gives_no_interval_and_no_ratio() -> None:
    assert math.isnan(stats.time_interval([[0.0], [1.0]]).lo)
    assert math.isnan(stats.ratio_interval([[1.0], [1.0]], [[0.0], [1.0]]).value)


def test_ratio_is_paired_by_process() -> None:
    drift = np.array([1.0, 2.0, 4.0, 8.0])  # the machine slows down, for both alike
    noise = np.exp(RNG.normal(0, 0.01, 4))
    reference, candidate = [[3 * d] for d in drift], [[2 * d * n] for d, n in zip(drift, noise, strict=True)]
    expected = ttest_rel(np.log(3 * drift), np.log(2 * drift * noise)).confidence_interval(0.95)
    ratio = stats.ratio_interval(reference, candidate)
    assert ratio.value == pytest.approx(1.5 / np.exp(np.log(noise).mean()))
    assert (ratio.lo, ratio.hi) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert stats.ratio_verdict(ratio) == "faster"


@settings(max_examples=50, deadline=None)
@given(times, times)
def test_ratio_and_its_inverse_agree(a: list[list[float]], b: list[list[float]]) -> None:
    forth, back = stats.ratio_interval(a, b), stats.ratio_interval(b, a)
    assert forth.value * back.value == pytest.approx(1)
    assert math.log(forth.lo) == pytest.approx(-math.log(back.hi), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(times, st.floats(0.01, 100))
def test_time_has_no_preferred_unit(processes: list[list[float]], unit: float) -> None:
    scaled = stats.time_interval([[unit * sample for sample in process] for process in processes])
    assert scaled == pytest.approx([unit * end for end in stats.time_interval(processes)])


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (1.021, 1.3, "faster"),
        (0.7, 0.979, "slower"),
        (0.98, 1.02, "same"),
        (0.99, 1.03, "undecided"),
        (1.01, 1.5, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_ratio_verdict(lo: float, hi: float, verdict: str) -> None:
    assert stats.ratio_verdict(Interval(1.0, lo, hi)) == verdict


def test_mean_interval_is_1_96_standard_errors() -> None:
    losses = RNG.gamma(2, 1, 100)
    half = 1.96 * statistics.stdev(losses.tolist()) / 10
    assert stats.mean_interval(losses) == pytest.approx((losses.mean(), losses.mean() - half, losses.mean() + half))


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, "same"), (0.005, "same"), (-0.1, "better"), (0.1, "worse")],
)
def test_paired_difference(shift: float, verdict: str) -> None:
    reference = {0: 1.0, 1: 2.0, 2: 0.5, 3: 1.5}  # seeds differ far more than implementations do
    noise = {0: 0.001, 1: -0.001, 2: 0.0, 3: 0.002}
    candidate = {seed: loss + shift + noise[seed] for seed, loss in reference.items()}
    expected = ttest_rel(list(candidate.values()), list(reference.values())).confidence_interval(0.95)
    difference, decided = stats.paired_difference(candidate, reference)
    assert (difference.lo, difference.hi) == pytest.approx((expected.low, expected.high))
    assert decided == verdict


def test_paired_difference_of_few_seeds() -> None:
    assert stats.paired_difference({0: 1.0}, {0: 9.0, 1: 9.0})[1] == "undecided"
    assert stats.paired_difference({0: 1.0, 1: 3.0}, {0: 2.0, 1: 1.0})[1] == "undecided"
    difference, verdict = stats.paired_difference({0: 1.0}, {1: 1.0})
    assert math.isnan(difference.value)
    assert verdict == ""


def test_agreement_looks_at_the_first_entries_only_and_refuses_nan() -> None:
    assert stats.agreement([1.0, 2.0, 9.0], [1.0, 2.002, 1.0], first=2) == pytest.approx(0.002 / 2.002)
    assert stats.agreement([1.0, math.nan], [1.0, 2.0], first=2) == math.inf
    assert math.isnan(stats.agreement([], [1.0], first=2))


def test_growth_has_linregress_slope_and_a_t_interval() -> None:
    x = np.array([1.0, 2.0, 5.0, 10.0, 50.0])
    y = 3 * x**1.5 * np.exp(RNG.normal(0, 0.1, 5))
    fit = linregress(np.log(x), np.log(y))
    half = 3.182446305284263 * fit.stderr  # t(0.975, 3)
    assert stats.growth_exponent(x, y) == pytest.approx((fit.slope, fit.slope - half, fit.slope + half))
    fit = linregress(x, y)
    half = 3.182446305284263 * fit.stderr
    assert stats.growth_per_unit(x, y) == pytest.approx((fit.slope, fit.slope - half, fit.slope + half))


def test_growth_of_few_points_and_of_none() -> None:
    two = stats.growth_exponent([1.0, 10.0], [1.0, 100.0])
    assert two.value == pytest.approx(2)
    assert math.isnan(two.lo)
    assert math.isnan(stats.growth_exponent([1.0], [1.0]).value)
    assert stats.growth_exponent([1.0, 2.0, 4.0], [5.0, 5.0, 5.0]) == Interval(0.0, 0.0, 0.0)


starts = st.floats(0.001, 100)


@settings(max_examples=100, deadline=None)
@given(starts, starts, starts, starts)
def test_from_the_breakeven_on_the_total_time_is_less(
    first: float, step: float, other: float, other_step: float
) -> None:
    n = stats.breakeven_steps(first, step, other, other_step)
    if math.isinf(n):
        assert step >= other_step
        return
    assert n >= 1
    assert n == int(n)

    def ahead(steps: float) -> float:
        return (other + steps * other_step) - (first + steps * step)

    rounding = 1e-9 * (first + other + n * other_step)
    assert ahead(n) >= -rounding
    assert n == 1 or ahead(n - 1) <= rounding


def test_breakeven_is_a_number_of_whole_steps() -> None:
    assert stats.breakeven_steps(first_s=3.0, step_s=0.25, other_first_s=1.0, other_step_s=0.625) == 6  # 2 / 0.375
    assert stats.breakeven_steps(1.0, 0.5, 1.0, 0.75) == 1
    assert stats.breakeven_steps(0.5, 0.75, 1.0, 0.5) == math.inf  # ahead at first, behind in the end
