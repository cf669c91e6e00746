"""The cases of the cost study: every one fits together."""

import pytest

from experiments import cost
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options

FULL = cost.cases(Options("full", "cpu", (0,), 1, None))


@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
def test_the_network_of_a_case_takes_its_points(case: Case) -> None:
    bench = Bench(case, "unrolled", None, None)
    batch = bench.batch(0)
    assert len(batch.support_x) == case.params["tasks"]
    assert bench.setup.spec.model(batch.support_x[0]).shape == batch.support_y[0].shape


def test_no_two_cases_share_a_name_and_every_factor_is_varied() -> None:
    assert len({case.name for case in FULL}) == len(FULL)
    varied = [factor for case in FULL for factor in case.factors]
    assert all(varied.count(factor) >= 3 for factor in {*cost.FACTORS, *cost.MEMORY_FACTORS})
