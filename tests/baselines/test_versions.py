"""What guards ask in C++ first: the numbers that Python 3.11 gives to the changes of dicts."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from baselines._compiler.guards import guards
from baselines._compiler.guards.versions import as_they_are
from tests.baselines.gradients import gradient, points
from tests.baselines.guarded import Model, built

NUMBERED = sys.version_info < (3, 12)


class Plain:
    """Something with attributes."""

    def __init__(self) -> None:
        self.a = 1


def of_namespace(owner: Any) -> None:
    owner.a = 2


def of_its_class(owner: Any) -> None:
    owner.__class__ = type("Other", (Plain,), {})


def of_the_whole_namespace(owner: Any) -> None:
    owner.__dict__ = {"a": 1}


@pytest.mark.skipif(not NUMBERED, reason="Python numbers the changes of dicts up to 3.11")
@pytest.mark.parametrize("change", [of_namespace, of_its_class, of_the_whole_namespace])
def test_dicts_are_asked_in_c_whether_they_are_as_they_were(change: Callable[[Any], None]) -> None:
    owner, contents = Plain(), {"key": 1.0}
    check = as_they_are([owner], [contents])
    assert check is not None
    assert check()
    contents["key"] = float("1.0")  # which is equal
    assert not check()
    check = as_they_are([owner], [contents])
    assert check is not None
    change(owner)
    assert not check()


@pytest.mark.skipif(not NUMBERED, reason="Python numbers the changes of dicts up to 3.11")
def test_guards_ask_in_c_and_go_on_in_python_where_values_are_always_assigned_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[bool] = []
    made = as_they_are

    def watched(*arguments: Any) -> Callable[[], bool] | None:
        check = made(*arguments)
        return check and (lambda: answers.append(check()) or answers[-1])  # type: ignore[func-returns-value, misc]

    monkeypatch.setattr(guards, "as_they_are", watched)
    model = Model()
    model.settings.name = "a name"
    implementation = built(model)
    for _ in range(4):
        gradient(implementation, points(2, 5, 4))
    answers.clear()
    assert implementation.codes[0].guards is not None
    assert implementation.codes[0].guards.hold_quickly()
    assert answers == [True]
    for _ in range(2 * guards.RENEWALS):
        model.settings.name = " ".join(["a", "name"])
        assert implementation.codes[0].guards.hold_quickly()
    assert 0 < answers.count(False) <= guards.RENEWALS
    asked = len(answers)
    assert implementation.codes[0].guards.hold_quickly()
    assert len(answers) == asked
    model.settings.scale = 2.0
    assert not implementation.codes[0].guards.hold_quickly()


@pytest.mark.skipif(NUMBERED, reason="Python numbers the changes of dicts up to 3.11")
def test_where_python_numbers_nothing_nothing_is_asked() -> None:
    assert as_they_are([Plain()], [{}]) is None
