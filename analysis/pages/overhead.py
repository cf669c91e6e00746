"""Declare how the results of `overhead` are shown."""

from analysis.columns.column import Time
from analysis.columns.times import Ratio
from analysis.page import Page

PAGE = Page(
    question="What does the harness itself cost in a training run?",
    columns=(
        Time("iteration_ms", "milliseconds for one meta-iteration: batch, meta-gradient, Adam"),
        Ratio(of="iteration_ms", against="bare-loop"),
    ),
    shown=("iteration_ms", "speedup_vs_bare-loop"),
    best_first="iteration_ms",
)
