"""Explain in one sentence what a column means, or why it is empty."""

from analysis.store.load import Experiment

_COMMON = {
    "computes": "what it says it computes: second-order `maml`, first-order `fomaml`, `reptile`, or `pretraining`",
    "seeds": "how many seeds the row is the mean of; with several, intervals are 95 % t intervals over the seeds",
    "environment": "machine and versions, listed above",
    "torch_version": "the version of PyTorch that the row was measured with",
    "status": "ok, with a remark where there is one; or what is wrong and why, and then the row shows no timing",
}


def meaning(name: str, experiment: Experiment) -> str:
    """Return the legend of a column of the Markdown table; empty if it needs none."""
    column = experiment.columns.get(name)
    return _COMMON.get(name, "") if column is None else column.explain()


def why_empty(name: str, experiment: Experiment) -> str:
    """Return why a column has no values, as the column itself or the cells explain it."""
    column = experiment.columns.get(name)
    reason = "" if column is None else column.why_empty()
    return reason or "; ".join(experiment.reasons.get(name, ())) or "no row has a value"
