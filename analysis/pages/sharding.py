"""Declare how the results of `sharding` are shown."""

from analysis.columns.column import Column, Error, Sample, Time
from analysis.page import Page

PAGE = Page(
    question="What does sharding a meta-batch over ranks gain, and what does its all-reduce cost?",
    columns=(
        Column("ranks", "ranks that the meta-batch was sharded over"),
        Time(
            "step_ms", "milliseconds for one meta-gradient of the whole meta-batch over all ranks, all-reduce included"
        ),
        Time("single_ms", "milliseconds for the same on rank 0 alone, the others waiting"),
        Sample("efficiency", "single_ms / (ranks · step_ms), of blocks timed one after the other: 1 is perfect"),
        Time("allreduce_ms", "milliseconds for the all-reduce alone"),
        Column("parameters", "numbers in the meta-gradient"),
        Column("allreduce_bytes", "bytes in the one all-reduce of a step: meta-gradient, task losses and two counts"),
        Column("execution", "how it ran on rank 0, where the implementation chooses"),
        Column("oracle", "what the sharded meta-gradient was verified against before it was timed"),
        Error("error_float64", "its error against the ground truth in float64"),
        Error("error_float32", "its error against the ground truth in float32"),
    ),
    shown=(
        "step_ms",
        "single_ms",
        "efficiency",
        "allreduce_ms",
        "allreduce_bytes",
    ),
    best_first="step_ms",
)
