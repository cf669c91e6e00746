"""Declare how the results of `regress` are shown."""

from analysis.columns.column import Column, Error, Verdict
from analysis.page import Page

PAGE = Page(
    question="Is every implementation still right on every golden case, and does every known limitation still show?",
    columns=(
        Verdict("verdict", "`right`, `expected` (a known limitation of the library), or what went wrong"),
        Error(
            "error",
            "largest over parameters of ‖g − o‖ / max(‖o‖ of the parameter, 1e-6 ‖o‖ of all), o the golden value",
        ),
        Column("tolerance", "max(1e-12, 100·κ·eps of the dtype)"),
        Column("kappa", "κ: relative change of the ground truth over relative change of its inputs"),
    ),
    shown=("verdict", "error", "tolerance", "kappa"),
    best_first="error",
)
