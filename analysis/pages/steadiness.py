"""Declare how the results of `steadiness` are shown."""

from analysis.columns.column import Column, Error
from analysis.columns.trends import Trend, TrendRate
from analysis.page import Curves, Page

GROWTH = Trend(
    meaning="how much resident memory grew from the first look to the last, MiB",
    series="memory",
    x="iteration",
    y="growth_mib",
    most=5e6 / 2**20,
)
PAGE = Page(
    question="Does a long training run keep the memory it has, or does it lose some with every iteration?",
    columns=(
        Column("iterations", "meta-iterations, that is, outer steps"),
        Column("warm_up", "meta-iterations before the first look, which do not count"),
        Column(
            "tensor_mib",
            "all tensors alive between two iterations, MiB: weights, gradients, Adam's state, batch, result",
        ),
        Column("tensor_change_bytes", "the largest minus the smallest number of bytes of these over all looks"),
        Column("tensors", "`constant` where not a single byte came or went from look to look"),
        Column("resident_mib", "resident memory of the process at the first look, MiB"),
        GROWTH,
        TrendRate(trend=GROWTH),
        Column("oracle", "what the implementation was verified against before training"),
        Error("error_float64", "its error against the ground truth in float64"),
        Error("error_float32", "its error against the ground truth in float32"),
    ),
    shown=("tensors", "tensor_change_bytes", "tensor_mib", "growth_mib", "resident_mib", "iterations", "warm_up"),
    figures=(
        Curves(
            name="steadiness_memory",
            title="Resident memory over a training run",
            series="memory",
            x="iteration",
            y="growth_mib",
            xlabel="meta-iteration",
            ylabel="MiB since the first look",
        ),
    ),
)
