"""Does every implementation compute the meta-gradient it says it computes, and how far is first order from second?

Each result is compared with a ground truth that uses no autograd: the closed form on linear regression, and an adjoint
sweep of hand-written NumPy gradients with complex steps on 1-40-40-1 networks. The quadratic loss of linear regression
has the same Hessian everywhere, so the order of the factors (I − α∇²S(φₖ)) does not show; on ReLU and tanh networks it
does.
"""

from collections.abc import Generator, Mapping

import numpy as np

from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options, Parameter, Parameters, Result, Row
from experiments.harness.status import Wrong
from experiments.judging.verify import Weights, by_definition

NETWORKS: dict[str, tuple[str, dict[str, Parameter]]] = {
    "linear": ("linear", {"hidden": 0, "width": 0, "activation": "relu"}),
    "relu": ("sinusoid", {"hidden": 2, "width": 40, "activation": "relu"}),
    "tanh": ("sinusoid", {"hidden": 2, "width": 40, "activation": "tanh"}),
}
STEPS = (0, 1, 5)
DTYPES = ("float64", "float32")
INNER_LR = 0.05  # large enough for every factor to matter


def cases(options: Options) -> list[Case]:
    """Return the cases: every network, K, dtype and seed."""
    networks: Mapping[str, tuple[str, Mapping[str, Parameter]]] = NETWORKS
    if options.model:
        networks = {"model": ("sinusoid", options.model.parameters)}
    return [
        Case(
            "metagradient",
            f"{network}-steps{steps}",
            Parameters(
                family=family,
                model=model,
                network=network,
                tasks=10,
                shots=5,
                queries=5,
                inner_lr=INNER_LR,
                inner_steps=steps,
            ),
            options.device,
            dtype,
            seed,
            options.threads,
        )
        for network, (family, model) in networks.items()
        for steps in STEPS
        for dtype in DTYPES
        for seed in options.seeds or (0,)
    ]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Judge one call, check the contract, and measure the distance of other results from second-order MAML's."""
    yield 0.0
    judged = bench.judge(bench.setup)
    check, result = judged.check, judged.found
    row: Row = {
        "network": bench.params.text("network"),
        "oracle": judged.oracle,
        "error": check.error,
        "tolerance": check.tolerance,
        "kappa": check.kappa,
    }
    if not check.right:
        reason = f"error {check.error:.1e} against the ground truth ({judged.oracle}), tolerance {check.tolerance:.1e}"
        raise Wrong(reason, row)
    bench.conform(bench.setup, row)
    if bench.computes == "maml":
        return Result(row=row)
    note = by_definition(bench.computes, bench.inner.lr, bench.inner.steps)
    if bench.inner.steps == 0:
        return Result(row=row, note=note)
    second = bench.oracle("maml", bench.setup.spec.model)[1](judged.theta, judged.points)
    row["distance"] = _norm({name: result[name] - second[name] for name in second}) / _norm(second)
    row["cosine"] = sum(float(np.sum(result[n] * second[n])) for n in second) / (_norm(result) * _norm(second))
    return Result(row=row, note=note)


def _norm(weights: Weights) -> float:
    return float(np.sqrt(sum(np.sum(w**2) for w in weights.values())))


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("judge", measure),),
    # the other two `regress` has for what compiles
    for_compiled=lambda case: case.params.text("network") not in ("linear", "tanh"),
)
