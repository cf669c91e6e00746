"""How experiments are shown: one file is one experiment's page; one without is shown with all its columns."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from analysis.page import Page


def names() -> list[str]:
    """Return the experiments that have a page."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def find(experiment: str) -> Page:
    """Return the page of an experiment; a plain one, which shows every column, where there is no file for it."""
    name = f"{__name__}.{experiment}"
    if not experiment.isidentifier() or find_spec(name) is None:
        return Page()
    page: Page = importlib.import_module(name).PAGE
    return page
