"""What a column means and why it is empty, in one sentence each."""

from analysis.declaration import Declaration
from analysis.statistics.columns import BREAKEVEN, FIRST_STEP
from analysis.store.load import Experiment

_COMMON = {
    "computes": "what it says it computes: second-order `maml`, first-order `fomaml`, `reptile`, or `pretraining`",
    "seeds": "how many seeds the row is the mean of; with several, intervals are 95 % t intervals over the seeds",
    "environment": "machine and versions, listed above",
    "torch_version": "the version of PyTorch that the row was measured with",
    "status": "ok, with a remark where there is one; or what is wrong and why, and then the row shows no timing",
}


def meaning(column: str, declared: Declaration) -> str:
    """The legend of a column of the Markdown table; empty if it needs none."""
    if column == BREAKEVEN:
        return (
            f"how many steps it takes until the slow first one (`{FIRST_STEP}`) has paid off: from then on its total "
            "time is below that of the fastest implementation that computes the same without compiling, taking turns "
            "with it; `never` where a step is not faster"
        )
    if column in _COMMON:
        return _COMMON[column]
    if column.startswith("speedup_vs_"):
        reference = column.removeprefix("speedup_vs_")
        return (
            f"time of {reference} over own time, both taking turns, with 95 % interval: above 1 is faster; "
            "`same` means that the whole interval is within ±2 %, `undecided` that the interval is too wide to tell"
        )
    if declared.compare and column == f"{declared.compare}_difference":
        return (
            f"own {declared.compare} minus that of the row marked reference which computes the same, paired over "
            "seeds, with 95 % t interval: negative is better; `same` means within ±2 % of the reference's loss; "
            "one seed alone stays `undecided`"
        )
    if declared.trend and column == f"{declared.trend.y}_per_1000":
        return f"the same for each 1,000 of {declared.trend.x}"
    if declared.trend and column == declared.trend.y:
        return (
            f"{declared.columns.get(column, column)}, with a 95 % t interval over ten equal stretches of it; `within` "
            f"means that all of the interval is at most {declared.trend.most:.3g}, `beyond` that all of it is above"
        )
    if column == "agreement" and declared.agreement:
        curve = declared.agreement
        return (
            f"largest relative difference of `{curve.column}` from the reference's over its first {curve.first} "
            f"entries; within or beyond the tolerance of {curve.tolerance:g} in {curve.dtype}"
        )
    return declared.columns.get(column, "")


def why_empty(column: str, experiment: Experiment) -> str:
    """The reasons that the cells give for a column without values."""
    if column == "agreement" and experiment.declaration.agreement:
        return f"compared in {experiment.declaration.agreement.dtype} only"
    return "; ".join(experiment.reasons.get(column, ())) or "no row has a value"
