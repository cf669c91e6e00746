"""What several tests in this folder share."""

import io
import re

import pandas as pd

from analysis.columns.frame import with_computed
from analysis.store.load import load
from analysis.tables.tidy import csv, markdown
from tests.analysis.results_factory import Store


def tables(store: Store, name: str = "e") -> tuple[pd.DataFrame, str]:
    """The CSV table, read back, and the Markdown table."""
    experiment = load(store.results, name)
    frame = with_computed(experiment)
    return pd.read_csv(io.StringIO(csv(frame))), markdown(experiment, frame)


def lines_of(text: str) -> list[list[str]]:
    """The cells of all table lines of a Markdown text, headers included."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
