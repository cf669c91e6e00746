"""Is every implementation still right on every golden case, and does every known limitation still show?

Points, weights and ground truth are committed, under `results/golden/`, so that only the measured library, PyTorch and
NumPy can have changed. A call must leave the model as it was, and must not depend on earlier calls: the call that is
judged follows one with other weights and other points.
"""

import hashlib
from collections.abc import Generator

import torch
from torch import nn

from baselines import limitations
from baselines.contract import InnerLoop, Spec, TaskBatch
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure import environment
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.ring import SIZE, Ring
from experiments.harness.measure.setup import Setup, as_arrays
from experiments.harness.records import Case, Options, Parameters, Result, Row
from experiments.harness.records.files import sha256
from experiments.harness.status import Expected, Unavailable, Wrong, classify
from experiments.judging import conformance, ground_truth
from experiments.judging.examined import Examined
from experiments.judging.golden.files import FOLDER, Golden, names, read
from experiments.judging.oracles.described import Description, frozen_parameters
from experiments.judging.snapshot import Snapshot, in_words
from experiments.judging.verify import Check, by_definition, error
from experiments.problems import networks
from experiments.problems.networks.losses import LOSSES
from experiments.problems.tasks.draws import Floats

DTYPES = ("float64", "float32")
FOR_COMPILED = (
    "apart-tanh2-k3",
    "cnn-k3",
    "frozen-k3",
    "huber-k3",
    "linear-k5-one-task",
    "relu2-k1-many-tasks",
    "relu2-k10",
    "running-k3",
    "tanh2-k0",
    "tanh2-k1-large-lr",
    "tanh2-k2",
    "tanh2-k3",
    "tied-k3",
    "unused-k1",
)
"""The cases for implementations that compile: every network and trait; all cases would take a quarter of an hour."""
REHEARSED = 0.7  # the factor on weights and points in the call before the one that is judged


def cases(options: Options) -> list[Case]:
    """Return golden cases in both dtypes; the file's digest is a parameter, so changed files are measured again."""
    every: list[Case] = []
    described: list[Description] = []
    for name in sorted(
        names(), key=lambda name: name not in FOR_COMPILED
    ):  # each network's first case is one for all implementations
        golden = read(name)
        params = Parameters(
            golden=name,
            sha256=sha256(FOLDER / f"{name}.json"),
            tasks=len(golden.batch.support_x),
            shots=golden.batch.support_x.shape[1],
            queries=golden.batch.query_x.shape[1],
            inner_lr=golden.lr,
            inner_steps=golden.steps,
        )
        if golden.description not in described:
            described.append(golden.description)
            params["thorough"] = True
        every += [Case("regress", name, params, options.device, dtype, 0, options.threads) for dtype in DTYPES]
    return sorted(every, key=lambda case: case.name)


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Judge one call and check the contract; raise a failure that is a known limitation as Expected."""
    yield 0.0
    golden = read(bench.params.text("golden"))
    bench.inputs_digest, bench.init_digest = digest(golden.batch._asdict()), digest(golden.weights)
    try:
        result = judge(bench, golden)
        conform(bench, golden, result)
        return result
    except Exception as failure:
        row = failure.row if isinstance(failure, Wrong) else {}
        known = limitations.find(bench.name, golden.description, classify(failure)[1])
        if known is None:
            raise
        raise Expected(known.reason, row) from failure


def judge(bench: Bench, golden: Golden) -> Result:
    """Compare one call with the golden value for what the implementation says that it computes.

    Raises Wrong where the error is above the tolerance or where the call changed the model or the process, and
    Unavailable where the case cannot be judged.
    """
    setup = build(bench, golden)
    model = setup.spec.model
    if bench.computes not in golden.kappa:
        raise Unavailable("the case cannot be judged: next to its large weights θ − φ_K is lost in rounding")
    batch = batch_of(bench, golden)
    rehearsed = Snapshot(model)
    setup.meta_gradient(TaskBatch(*(REHEARSED * part for part in batch)))
    changed = rehearsed.changes(random=True)
    environment.settle(bench.case.threads)  # so that what is wrong with the first call does not hide the second
    set_weights(model, golden)
    before = Snapshot(model, batch)
    result = setup.meta_gradient(batch)
    grads = as_arrays(result.grads)
    changed = changed or before.changes(random=True)
    environment.settle(bench.case.threads)
    kappa = golden.kappa[bench.computes][bench.case.dtype]
    tolerance = max(1e-12, 100 * kappa * torch.finfo(bench.dtype).eps)
    check = Check(error(grads, golden.meta_gradients[bench.computes]), tolerance, kappa)
    row: Row = {"error": check.error, "tolerance": check.tolerance, "kappa": check.kappa}
    if changed:
        raise Wrong(in_words(changed), row)
    if not check.right:
        nothing = "" if any(g.any() for g in grads.values()) else "the whole meta-gradient is zero: "
        raise Wrong(f"{nothing}error {check.error:.1e} for {bench.computes}, tolerance {tolerance:.1e}", row)
    if reason := conformance.malformed(model, result, len(batch.support_x)):
        raise Wrong(reason, row)
    return Result(row=row, note=by_definition(bench.computes, golden.lr, golden.steps))


def conform(bench: Bench, golden: Golden, result: Result) -> None:
    """Check every other term of the contract, with scaled golden points; raises Wrong where one is broken."""
    setup = build(bench, golden)
    set_weights(setup.spec.model, golden)
    frozen = {name: golden.weights[name] for name in frozen_parameters(golden.description)}
    name, oracle = ground_truth.by_numpy(golden.description, setup.spec.inner, bench.computes)
    points = batch_of(bench, golden)
    conformance.enforce(
        Examined(
            setup,
            Ring(setup, [TaskBatch(*((1 - REHEARSED * i / SIZE) * part for part in points)) for i in range(SIZE)]),
            lambda theta, points: bench.truth(name, lambda t, p: oracle(t | frozen, p), bench.dtype, theta, points),
            bench.case.threads,
            lambda steps: build(bench, golden, steps),
        ),
        bool(bench.file or bench.params.flag("thorough")),
        result.row,
    )


def build(bench: Bench, golden: Golden, steps: int | None = None) -> Setup:
    """Build the implementation for the case's module with weights that are not yet the golden ones; raises Unavailable.

    steps: the number of inner steps, None for the case's.
    """
    model = load(golden, bench.dtype, bench.device, scale=REHEARSED)
    inner = InnerLoop(golden.lr, golden.steps if steps is None else steps)
    loss = LOSSES[golden.description.text("loss", "squared error")]
    return bench.build(Spec(model, loss, inner, bench.device, bench.dtype))


def batch_of(bench: Bench, golden: Golden) -> TaskBatch:
    """Return the golden points on the case's device, in its dtype."""
    return TaskBatch(*(torch.from_numpy(part).to(bench.device, bench.dtype) for part in golden.batch))


def load(golden: Golden, dtype: torch.dtype, device: torch.device, scale: float = 1.0) -> nn.Module:
    """Build the case's module with the golden weights times `scale`."""
    model = networks.build(golden.description).to(device, dtype)
    set_weights(model, golden, scale)
    return model


def set_weights(model: nn.Module, golden: Golden, scale: float = 1.0) -> None:
    """Set weights to the golden ones times `scale`, in place, as an optimizer would."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(scale * torch.from_numpy(golden.weights[name]))


def digest(arrays: dict[str, Floats]) -> str:
    """Return the SHA-256 of names and values."""
    sha256_of = hashlib.sha256()
    for name, value in arrays.items():
        sha256_of.update(name.encode() + value.astype("<f8").tobytes())
    return sha256_of.hexdigest()


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("judge", measure),),
    misuses=True,
    for_compiled=lambda case: case.name in FOR_COMPILED,
    by_default=False,
)
