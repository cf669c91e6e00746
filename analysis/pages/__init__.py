"""Hold one page per experiment, in a file with the experiment's name, that says how its results are shown."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from analysis.page import Page


def names() -> list[str]:
    """Return the experiments that have a page."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def find(experiment: str) -> Page:
    """Return the page of an experiment; without a file for it, a plain page that shows every column."""
    name = f"{__name__}.{experiment}"
    if not experiment.isidentifier() or find_spec(name) is None:
        return Page()
    page: Page = importlib.import_module(name).PAGE
    return page
