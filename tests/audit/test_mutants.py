"""A fixed sample of what `make mutants` runs: every identifier once, every right function, a few random models.

In the place of processes, every session executes the user's file anew here, which is as fresh and far quicker.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from experiments.audit.catalogue import EXPLANATIONS
from experiments.audit.report import VERDICTS
from experiments.audit.session import Target
from experiments.audit.verdict import audit
from tests.mutants import Mutant, mutants, right_ones, unusable_ones
from tests.mutants.__main__ import BREAKS, audited, is_exact
from tests.mutants.adapter import regressed
from tests.mutants.random_models import DRAWS, Draw, Rejected, accusation

LENGTHY = {"memory-grows"}  # needs the processes' own memory, and is left to `make mutants`


QUICK = {
    "no_create_graph",
    "sum_as_in_the_paper",
    "clamped_at_ten",
    "shuffled_mini_batches",
    "raises_for_several_steps",
    "forward_of_a_relu_network",
    "always_one_step",
    "momentum_of_nesterov",
    "squared_error_everywhere",
    "distance_to_itself",
    "restored_never",
    "first_batch_again",
}
QUICK_RIGHT = {
    "unrolled",
    "finite_differences",
    "in_single_precision",
    "one_step_by_clones",
    "first_order_by_leaves",
    "reptile",
    "gradients_returned",
}


def sample() -> list[Mutant]:
    """Choose a mutant for every diagnosis, and some with two mistakes."""
    distinct = sorted({m.expected: m for m in reversed(mutants())}.values(), key=lambda m: len(m.expected))
    chosen = distinct[: len(EXPLANATIONS)]
    for identifier in EXPLANATIONS:
        if not any(identifier in m.expected for m in chosen):
            chosen.append(next(m for m in distinct if identifier in m.expected))
    return chosen


def test_there_are_mutants_of_every_kind() -> None:
    names = [identifier for m in mutants() for identifier in m.expected]
    assert len(mutants()) >= 140
    assert set(names) == EXPLANATIONS.keys()
    assert sum(len(m.expected) > 1 for m in mutants()) >= 6
    assert len(right_ones()) >= 12
    assert len(unusable_ones()) >= 8


def few_are_quick(some: list[Mutant], quick: set[str]) -> list[Any]:
    """An audit takes seconds: most of them are left to `make test-all`."""
    assert quick <= {m.function for m in some}
    return [pytest.param(m, marks=[] if m.function in quick else pytest.mark.slow, id=m.name) for m in some]


@pytest.mark.parametrize("mutant", few_are_quick(sample(), QUICK))
def test_mistakes_are_caught_and_named(mutant: Mutant) -> None:
    report = audited(mutant)
    assert set(report.diagnosis) == set(mutant.expected), report.explanation
    assert not report.is_expected("maml")
    assert regressed(mutant) or "raises" in mutant.expected


@pytest.mark.parametrize("mutant", few_are_quick(right_ones(), QUICK_RIGHT))
def test_right_functions_are_called_right(mutant: Mutant) -> None:
    report = audited(mutant)
    (computes,) = mutant.expected
    assert report.verdict == VERDICTS[computes], report.explanation  # type: ignore[index]
    assert set(mutant.notes) - LENGTHY - {BREAKS} <= {note.identifier for note in report.notes}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([m for m in right_ones() if is_exact(m) and BREAKS not in m.notes]), DRAWS)
def test_right_functions_are_never_accused(mutant: Mutant, draw: Draw) -> None:
    (computes,) = mutant.expected
    try:
        assert accusation(mutant, computes, draw) == ""  # type: ignore[arg-type]
    except Rejected:
        reject()


def test_what_nothing_explains_is_called_unexplained(tmp_path: Any) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):\n"
        "    loss_fn(model(query[0][0]) ** 3, query[1][0]).backward()\n"
    )
    report = audit(Target(file, "meta_step"))
    assert (report.verdict, report.diagnosis) == ("wrong", ("unexplained",))
    assert "it ignores inner_steps: its results are the same for every K" in report.explanation
    assert "tasks influence one another" in report.explanation
