"""A copied or unpickled implementation is a new one, for a copy of its spec."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch

from baselines.contract import Baseline
from tests.baselines.changing import EAGER, batch, build, call, sequential, truth
from tests.baselines.gradients import distance
from tests.conftest import IMPLEMENTATIONS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda built: pickle.loads(pickle.dumps(built))])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_copy_is_built_anew_for_a_spec_of_its_own(name: str, copied: Callable[[Baseline], Baseline]) -> None:
    model = sequential()
    built = build(name, model, 1)
    if name in EAGER:
        call(built, batch())
    other = copied(built)
    assert type(other) is type(built) and other.spec.inner == built.spec.inner
    assert (other.spec.model is model) == (copied is copy.copy)
    if name in EAGER and copied is not copy.copy:
        with torch.no_grad():
            for p in other.spec.model.parameters():
                p.mul_(1.5)
        assert distance(call(built, batch()).grads, truth(name, model, batch(), 1)) < 1e-12
        assert distance(call(other, batch()).grads, truth(name, other.spec.model, batch(), 1)) < 1e-12
