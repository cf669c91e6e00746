"""Calls in forked processes see the data as they are, raise their errors here, and leave no process behind."""

import os
import sys
import time
from functools import partial

import psutil
import pytest

from analysis.forks import ForkedCalls


@pytest.mark.parametrize("forks", [True, False])
def test_results_come_in_order_from_processes_that_see_the_data_as_it_is(forks: bool) -> None:
    data: list[object] = [1, object()]  # what cannot be pickled

    def work(number: int) -> tuple[int, int, int]:
        data.append(number)
        return number, len(data), os.getpid()

    with ForkedCalls[tuple[int, int, int]]() as calls:
        calls.can_fork = forks
        for number in range(3):
            calls.start(partial(work, number))
        values = calls.results()
    assert [number for number, _, _ in values] == [0, 1, 2]
    assert [seen for _, seen, _ in values] == ([3, 3, 3] if forks else [3, 4, 5])
    assert {os.getpid() in seen for seen in values} == {not forks}


@pytest.mark.parametrize("forks", [True, False])
def test_a_failure_is_raised_here_and_the_others_are_ended(forks: bool) -> None:
    def fail() -> None:
        raise ValueError("the figure has no data")

    def both() -> None:
        with ForkedCalls[None]() as calls:
            calls.can_fork = forks
            calls.start(fail)
            calls.start(partial(time.sleep, 60))
            calls.results()

    before = psutil.Process().children()
    with pytest.raises(ValueError, match="the figure has no data"):
        both()
    assert set(psutil.Process().children()) <= set(before)


def test_where_jax_is_loaded_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", sys)
    assert not ForkedCalls[None]().can_fork


def test_a_killed_process_is_an_error_with_its_exit_code() -> None:
    with ForkedCalls[None]() as calls:
        calls.can_fork = True
        calls.start(lambda: os.kill(os.getpid(), 9))
        with pytest.raises(RuntimeError, match="exit code -9"):
            calls.results()
