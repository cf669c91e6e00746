"""Implementations are found by their files, and a file without one is refused."""

from pathlib import Path

import pytest

import baselines
from tests.conftest import IMPLEMENTATIONS
from tests.implementations import COMPILED, OURS, of_library


def test_they_say_whether_they_compile_and_which_library_they_measure() -> None:
    """Or other tests, which go by that, would look at nothing."""
    assert {"compiled", "fomaml-compiled"} < COMPILED < {*IMPLEMENTATIONS}
    assert {"unrolled", "adjoint", "vectorized", "compiled"} < {*OURS} < {*IMPLEMENTATIONS}
    assert {"higher", "higher-first-order"} <= of_library("higher") and not of_library("higher") & {*OURS}


def test_finding_files() -> None:
    assert {"notebook", "unrolled", "learn2learn", "higher", "fomaml", "reptile"} < set(IMPLEMENTATIONS)
    assert {"learn2learn-first-order", "higher-first-order"} < set(IMPLEMENTATIONS)
    assert not any(name.startswith("-") for name in IMPLEMENTATIONS)


def test_a_file_without_an_implementation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nothing.py"
    file.write_text("x = 1\n")
    with pytest.raises(ImportError, match="defines 0 subclasses"):
        baselines.load(file)
    file = tmp_path / "vague.py"
    file.write_text("from maml_bench import Baseline\nclass Vague(Baseline):\n    computes = 'something'\n")
    with pytest.raises(ImportError, match="is not one of 'maml', 'fomaml', 'reptile'"):
        baselines.load(file)
