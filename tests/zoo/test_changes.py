"""Does an implementation ever answer for how the network was? Each answer is right, or refused in a sentence."""

import copy
from dataclasses import replace

import pytest
import torch

from baselines.contract import MetaGradient, Spec, TaskBatch
from baselines.handwritten.unrolled import Unrolled
from tests.conftest import IMPLEMENTATIONS
from tests.zoo import changes_hooks, changes_modules, judging
from tests.zoo.changes import CHANGES
from tests.zoo.changes_tensors import Unused
from tests.zoo.drawing import DRAWS
from tests.zoo.judging import KNOWN, REFUSED, RIGHT, WRONG, difference, judge, judge_draw, judge_walk, worst
from tests.zoo.records import Change, Draw

OFTEN = ["fomaml", "higher", "learn2learn", "adjoint", "torchopt", "torchopt-vectorized", "unrolled", "vectorized"]
SELDOM = sorted({*IMPLEMENTATIONS} - {*OFTEN, "compiled", "jax"})
"""What shares its code with one of the others, and meets the most telling changes only."""
OF_LAYERS = (*changes_modules.CHANGES, *changes_hooks.CHANGES)
"""What JAX meets, besides the most telling ones: it compiles for each, and serves nothing but layers that it knows."""
ALLOWED = (RIGHT, REFUSED, KNOWN)
changes = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
telling = pytest.mark.parametrize("change", [c for c in CHANGES if c.telling], ids=lambda change: change.name)
draws = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.name)


@telling
def test_compiled_answers_for_the_most_telling_changes(change: Change) -> None:
    assert worst(judge(change, "compiled")).status in ALLOWED


@pytest.mark.slow
@changes
def test_the_zoo_is_not_empty(change: Change) -> None:
    far = max(1e-3, 5 * change.tolerance)  # a stale answer is told from a right one
    assert difference(change) < change.tolerance if change.silent else difference(change) > far


@pytest.mark.slow
@changes
def test_compiled_answers_for_the_network_as_it_is_or_refuses(change: Change) -> None:
    assert worst(judge(change, "compiled")).status in ALLOWED


@pytest.mark.slow
@pytest.mark.machine_code  # it reads memory by the dtypes that were traced, where a graph asks the tensor
@pytest.mark.parametrize("influence", [1e-6, 1.0])
def test_machine_code_serves_parameters_of_another_dtype(influence: float) -> None:
    change = next(change for change in CHANGES if change.name == "a parameter of another dtype, in place")

    def build() -> Unused:
        model = Unused()
        model.influence = influence
        return model

    assert worst(judge(replace(change, build=build), "compiled")).status in ALLOWED


@pytest.mark.slow
@changes
def test_every_implementation_answers_for_the_network_as_it_is_or_refuses(change: Change) -> None:
    names = OFTEN + (SELDOM if change.telling else []) + (["jax"] if change.telling or change in OF_LAYERS else [])
    found = {name: worst(judge(change, name)) for name in names}
    assert not {name: verdict for name, verdict in found.items() if verdict.status not in ALLOWED}


@pytest.mark.slow
@draws
def test_every_answer_is_one_of_those_that_are_possible(draw: Draw) -> None:
    found = {name: worst(judge_draw(draw, name)) for name in ["compiled", *OFTEN]}
    assert not {name: verdict for name, verdict in found.items() if verdict.status not in ALLOWED}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_every_state_of_a_walk_is_answered_for_or_refused(seed: int) -> None:
    found = {name: worst(judge_walk(seed, name, steps=30)) for name in ["compiled", *OFTEN]}
    assert not {name: verdict for name, verdict in found.items() if verdict.status not in ALLOWED}


def test_no_two_entries_have_one_name() -> None:
    names = [entry.name for entry in (*CHANGES, *DRAWS)]
    assert len(set(names)) == len(names) > 300


class Stale(Unrolled):
    """Answers for the network as it was built."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(replace(spec, model=copy.deepcopy(spec.model)))


class Leaving(Unrolled):
    """Leaves a gradient behind."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        result = super().meta_gradient(prepared)
        for p in self.spec.model.parameters():
            p.grad = torch.zeros_like(p)
        return result


@pytest.mark.parametrize(("kind", "words"), [(Stale, "error"), (Leaving, "the call changed 0.weight.grad")])
def test_who_answers_for_how_it_was_or_leaves_something_is_noticed(
    kind: type[Unrolled], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "implementation", lambda name: kind)
    change = next(change for change in CHANGES if change.name == "a parameter, in place")
    verdict = worst(judge(change, "unrolled"))
    assert verdict.status == WRONG and verdict.words.startswith(words)
