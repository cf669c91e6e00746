"""The predictions of the audit: equal to the oracles where nothing is wrong, apart from each other where it is."""

from itertools import combinations

import numpy as np
import pytest
import torch

from experiments.audit.catalogue import EXPLANATIONS, Fault, catalogue, pairs, recipe
from experiments.audit.factors import Factor, Finding, law
from experiments.audit.probes import Probe, norm, probes
from experiments.audit.simulate import Recipe, Simulation
from experiments.judging.verify import Weights

TOLERANCES = 1000
PROBES = probes()
FACTORS = {
    "sum-over-tasks": lambda probe, g: probe.sizes["T"],
    "sum-over-points": lambda probe, g: probe.sizes["Q"],
    "constant-factor": lambda probe, g: 2.0,
    "wrong-sign": lambda probe, g: -1.0,
    "outer-clipping": lambda probe, g: min(1.0, 0.2 / norm(g)),
    "outer-normalised": lambda probe, g: 1 / norm(g),
}


def predicted(fault: Fault, probe: Probe) -> Weights:
    values = (fault.starts[0] if fault.starts else 0.0,)
    changed = recipe((fault,), values)
    if changed.outer_data == "query and support":
        parts = [Simulation(Recipe(outer_data=data), probe).mean()[0] for data in ("query", "support")]
    else:
        parts = list(Simulation(changed, probe).mean())[: 1 + fault.mixed]
    return {name: sum(part[name] for part in parts) for name in parts[0]}


@pytest.fixture(scope="module")
def predictions() -> list[tuple[str, list[Weights]]]:
    """Identifier and results by probe, of everything the catalogue can say of a gradient."""
    torch.set_num_threads(1)
    right = [p.right["maml"] for p in PROBES]
    predictions = [("", right)]
    predictions += [(fault.identifier, [predicted(fault, p) for p in PROBES]) for fault in catalogue()]
    for identifier, factor in FACTORS.items():
        scaled = [{n: factor(p, g) * v for n, v in g.items()} for p, g in zip(PROBES, right, strict=True)]
        predictions.append((identifier, scaled))
    for name in right[0]:
        without = [{n: 0 * v if n == name else v for n, v in g.items()} for g in right]
        predictions.append(("no-gradient", without))
    return predictions


def test_any_two_differ_on_some_probe_or_share_an_identifier(predictions: list[tuple[str, list[Weights]]]) -> None:
    alike = []
    for (a, first), (b, second) in combinations(predictions, 2):
        if a != b and not any(
            p.distance(x, y) >= TOLERANCES * p.tolerances["float64"]
            for p, x, y in zip(PROBES, first, second, strict=True)
        ):
            alike.append((a, b))
    assert not alike


def test_every_prediction_of_the_catalogue_has_an_explanation(predictions: list[tuple[str, list[Weights]]]) -> None:
    assert {identifier for identifier, _ in predictions} - {""} <= EXPLANATIONS.keys()
    assert len({identifier for identifier, _ in predictions}) > 25


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.name)
def test_without_a_mistake_predictions_are_the_oracles(probe: Probe) -> None:
    recipes = {
        "maml": Recipe(),
        "fomaml": Recipe(graph=lambda k, K: False),
        "reptile": Recipe(result="displacement"),
    }
    for computes, right in recipes.items():
        assert probe.distance(Simulation(right, probe).mean()[0], probe.right[computes]) < 1e-12
    swept = Simulation(Recipe(sweep="query", inner_data="query"), probe).mean()[0]
    whole = Simulation(Recipe(inner_data="query"), probe).mean()[0]
    assert probe.distance(swept, whole) < 1e-12  # a sweep with the right Hessian is the derivative of the loop


def test_probes_are_well_conditioned_and_see_the_second_order() -> None:
    for probe in PROBES:
        assert probe.tolerances["float64"] == 1e-12
        if probe.lr:
            assert probe.distance(probe.right["fomaml"], probe.right["maml"]) > 0.1


def test_pairs_change_different_things() -> None:
    every = list(pairs(catalogue()))
    assert len(every) > 1000
    for a, b in every:
        assert not a.fields(0.1).keys() & b.fields(0.1).keys()


def factors(value: object) -> list[Factor]:
    return [Factor(p, float(value(p)), norm(p.right["maml"])) for p in PROBES]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda p: 1.0, []),
        (lambda p: p.sizes["T"], [Finding("sum-over-tasks")]),
        (lambda p: p.sizes["T"] * p.sizes["Q"], [Finding("sum-over-tasks"), Finding("sum-over-points")]),
        (lambda p: -1.0, [Finding("wrong-sign")]),
        (lambda p: -0.5, [Finding("constant-factor", "-0.5")]),
        (lambda p: 1 / p.sizes["T"], [Finding("constant-factor", "1·T^-1")]),
        (lambda p: 3 * p.lr, [Finding("constant-factor", "3·α")]),
        (lambda p: 1 + 1e-6, [Finding("constant-factor", "1.000001")]),
        (lambda p: 0.5 / norm(p.right["maml"]), [Finding("outer-normalised", "to a norm of 0.5")]),
        (lambda p: min(1, 0.2 / norm(p.right["maml"])), [Finding("outer-clipping", "to a norm of 0.2")]),
        (lambda p: np.sin(p.sizes["Q"]), None),
    ],
)
def test_factors_follow_a_law(value: object, expected: list[Finding] | None) -> None:
    assert law(factors(value), 1e-8) == expected
