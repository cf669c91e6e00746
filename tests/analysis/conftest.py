"""A results folder to fill."""

from pathlib import Path

import pytest
from results_factory import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty results folder."""
    return Store(tmp_path / "results")
