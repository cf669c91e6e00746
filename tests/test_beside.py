"""Work beside a process: seen as it is, its failure told, nothing left running."""

import os
import sys
import time
from functools import partial

import psutil
import pytest

from analysis.beside import Beside


@pytest.mark.parametrize("forks", [True, False])
def test_results_come_in_order_from_processes_that_see_the_data_as_it_is(forks: bool) -> None:
    data: list[object] = [1, object()]  # what cannot be pickled

    def work(number: int) -> tuple[int, int, int]:
        data.append(number)
        return number, len(data), os.getpid()

    with Beside[tuple[int, int, int]]() as beside:
        beside.forks = forks
        for number in range(3):
            beside.start(partial(work, number))
        found = beside.results()
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert [seen for _, seen, _ in found] == ([3, 3, 3] if forks else [3, 4, 5])
    assert {os.getpid() in seen for seen in found} == {not forks}


@pytest.mark.parametrize("forks", [True, False])
def test_a_failure_is_raised_here_and_the_others_are_ended(forks: bool) -> None:
    def fail() -> None:
        raise ValueError("the figure has no data")

    def both() -> None:
        with Beside[None]() as beside:
            beside.forks = forks
            beside.start(fail)
            beside.start(partial(time.sleep, 60))
            beside.results()

    before = psutil.Process().children()
    with pytest.raises(ValueError, match="the figure has no data"):
        both()
    assert set(psutil.Process().children()) <= set(before)


def test_where_jax_is_loaded_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", sys)
    assert not Beside[None]().forks


def test_a_process_that_is_killed_is_told() -> None:
    with Beside[None]() as beside:
        beside.forks = True
        beside.start(lambda: os.kill(os.getpid(), 9))
        with pytest.raises(RuntimeError, match="exit code -9"):
            beside.results()
