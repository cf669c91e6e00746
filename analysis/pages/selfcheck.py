"""Declare how the results of `selfcheck` are shown."""

from analysis.columns.column import Sample, Time
from analysis.columns.times import Ratio
from analysis.page import Page

PAGE = Page(
    question="Does the timing tell differences that are there, and none that are not?",
    columns=(
        Time(
            "step_ms", "milliseconds for one meta-gradient of the whole meta-batch, data resident and new to every call"
        ),
        Ratio(of="step_ms", against="reference"),
        Sample(
            "cpu_per_wall",
            "processor time, helper processes included, over wall time while timed; above 1, more than one core was at "
            "work",
        ),
    ),
    shown=("step_ms", "speedup_vs_reference", "cpu_per_wall"),
)
