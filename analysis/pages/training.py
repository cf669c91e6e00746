"""Declare how the results of `training` are shown."""

from analysis.columns.column import Column, Error, Mean
from analysis.columns.losses import Agreement, Difference
from analysis.page import Curves, Drift, Page

PAGE = Page(
    question="How does the loss fall with each implementation, from the same weights on the same tasks?",
    columns=(
        Column("iterations", "meta-iterations, that is, outer steps"),
        Column("heldout_tasks", "held-out tasks, the same for every implementation and seed"),
        Column("ranks", "ranks that each meta-batch was sharded over"),
        Column("resumed_at", "iterations at which an interrupted training went on from its checkpoint"),
        Column("execution", "how it ran, where the implementation chooses"),
        Mean("loss_before", "mean query loss on held-out tasks before adaptation"),
        Mean("query_loss", "mean query loss on held-out tasks after adaptation"),
        Difference(of="query_loss"),
        Column("oracle", "what the implementation was verified against before training"),
        Error("error_float64", "its error against the ground truth in float64"),
        Error("error_float32", "its error against the ground truth in float32"),
        Agreement(series="train", curve="query_loss", first=100, tolerance=1e-09, in_dtype="float64"),
    ),
    shown=("query_loss", "loss_before", "query_loss_difference", "agreement"),
    best_first="query_loss",
    figures=(
        Curves(
            name="training_loss",
            title="Query loss after adaptation, on held-out tasks",
            series="heldout",
            x="iteration",
            y="query_loss",
            xlabel="meta-iteration",
            ylabel="mean squared error",
            where={"dtype": "float32"},
        ),
        Drift(
            name="training_drift",
            title="How far training losses drift from the reference's by rounding alone",
            series="train",
            x="iteration",
            y="query_loss",
            xlabel="meta-iteration",
            ylabel="relative difference",
        ),
    ),
)
