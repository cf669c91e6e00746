"""What the compiled implementations ask of the model at each call, and that no call gets what another one has."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import vjp
from torch.utils._pytree import tree_flatten, tree_unflatten

from baselines._compiler import tracing
from baselines._compiler.low_rank import Factors
from baselines._compiler.partition import is_view, split
from baselines._compiler.step import Phi
from baselines._compiler.trees import builder, flattener
from tests.baselines.gradients import DOUBLE, build, distance, gradient, points
from tests.baselines.models import mlp
from tests.implementations import COMPILED, OURS

OUR_COMPILED = sorted(COMPILED & {*OURS})


@pytest.mark.parametrize(("steps", "graphs"), [(0, "one graph"), (10, "one graph"), (11, "graphs per step")])
def test_what_does_not_convolve_or_normalise_goes_all_tasks_together(steps: int, graphs: str) -> None:
    compiled = build("compiled", mlp(), steps)
    gradient(compiled, points(2, 4, 4))
    assert compiled.execution.startswith(f"all tasks together; {graphs}")


@pytest.mark.parametrize("layer", [nn.Conv1d(1, 1, 3, padding=1), nn.BatchNorm1d(1), nn.LayerNorm(3)])
def test_convolutions_and_normalisations_go_task_by_task_from_the_start(layer: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (1, 3)), layer, nn.Flatten(), nn.Linear(3, 3))
    compiled = build("compiled", model, steps=1)
    gradient(compiled, points(2, 4, 4))
    assert compiled.execution.startswith("one task after the other; graphs per step")
    assert "failed" not in compiled.execution  # the other way was not even tried


def test_the_mode_of_a_single_module_counts() -> None:
    torch.manual_seed(0)
    model, batch = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(1.0), nn.Linear(4, 3)), points(2, 4, 4)
    compiled, plain = build("compiled", model), build("unrolled", model)
    assert not gradient(compiled, batch)["0.weight"].any()  # everything is dropped
    model[2].eval()
    gradient(compiled, batch)  # the first call after a change is the fallback's
    assert distance(gradient(compiled, batch), gradient(plain, batch)) < 1e-13


@pytest.mark.parametrize("name", OUR_COMPILED)
def test_parameters_that_were_given_other_memory_are_seen(name: str) -> None:
    torch.manual_seed(0)
    model, batch = mlp(), points(2, 4, 4)
    compiled = build(name, model)
    for _ in range(2):  # the second call is the first that could find something kept
        gradient(compiled, batch)
    for p in model.parameters():
        p.data = 1.5 * p.data
    assert distance(gradient(compiled, batch), gradient(build(name, model), batch)) < 1e-13


@pytest.mark.parametrize("name", OUR_COMPILED)
def test_results_of_calls_after_the_first_have_memory_of_their_own_too(name: str) -> None:
    torch.manual_seed(0)
    compiled = build(name, mlp())
    results = [gradient(compiled, points(2, 4, 4, seed=seed)) for seed in range(3)]
    owned = [g.data_ptr() for grads in results for g in grads.values()]
    assert len(set(owned)) == len(owned)


def test_views_are_taken_again_and_never_handed_over() -> None:
    def joint(inputs: tuple[Tensor, Tensor], cotangent: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, pull_back = vjp(lambda w, x: torch.tanh(x @ w.T).mT @ torch.sin(x), *inputs)
        return output, pull_back(cotangent)

    w, x, cotangent = (torch.randn(*shape, dtype=DOUBLE) for shape in ((4, 3), (5, 3), (4, 3)))
    forward, _, _ = split(tracing.trace(joint, (w, x), cotangent), is_view)
    _, residuals = forward((w, x))
    kept = [t.untyped_storage().data_ptr() for t in (w, x, *residuals)]
    assert len(set(kept)) == len(kept) > 2


@pytest.mark.parametrize(
    "tree",
    [
        1,
        (),
        ([1, 2], {"a'b": 3, "c": {}}),
        (Phi({"0.weight": 1}, {"0.bias": 2}, {"0.weight": Factors(3, 4)}), (5, Phi({}, {"x": 6}, {}))),  # type: ignore
    ],
)
def test_generated_expressions_flatten_and_build_as_pytree_does(tree: object) -> None:
    leaves, structure = tree_flatten(tree)
    assert list(flattener(tree)(tree)) == leaves
    others = [10 * leaf for leaf in leaves]
    assert builder(tree)(others) == tree_unflatten(others, structure)
