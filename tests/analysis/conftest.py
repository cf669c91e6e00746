"""A results folder to fill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import pages
from tests.analysis.results_factory import PAGES, Store


@pytest.fixture(scope="session", autouse=True)
def pages_of_tests() -> Iterator[None]:
    """Pages that tests give to experiments come before those in `analysis/pages`."""
    find = pages.find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "find", lambda name: PAGES.get(name) or find(name))
        yield


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No test sees the pages of another."""
    yield
    PAGES.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty results folder."""
    return Store(tmp_path / "results")
