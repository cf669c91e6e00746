"""Declare how the results of `metagradient` are shown."""

from analysis.columns.column import Column, Error
from analysis.page import Page, Points

PAGE = Page(
    question="Does every implementation compute the meta-gradient it says it computes, and how far is first order from "
    "second?",
    columns=(
        Column("network", "linear regression, or 1-40-40-1 with this activation"),
        Column("oracle", "what it was compared with"),
        Error("error", "largest over parameters of ‖g − o‖ / max(‖o‖ of the parameter, 1e-6 ‖o‖ of all)"),
        Column("tolerance", "max(1e-12, 100·κ·eps of the dtype)"),
        Column("kappa", "κ: relative change of the ground truth over relative change of its inputs"),
        Column("distance", "‖g − maml‖ / ‖maml‖ for first-order methods, g their (right) result"),
        Column("cosine", "cosine between g and the second-order meta-gradient"),
    ),
    shown=("error", "tolerance", "oracle", "distance", "cosine"),
    best_first="error",
    figures=(
        Points(
            name="metagradient_error",
            title="Error against the ground truth for what each implementation says it computes",
            values=("error",),
            xlabel="relative error",
            caption="What compiles is checked with ReLU here, and with the other networks by make regress.",
        ),
        Points(
            name="metagradient_distance",
            title="How far first-order methods are from the second-order meta-gradient",
            values=("distance",),
            xlabel="‖g − maml‖ / ‖maml‖",
            where={"dtype": "float64"},
            caption="At 0 it would be the second-order meta-gradient; at 1 it is as far from it as no step at all.",
        ),
    ),
)
