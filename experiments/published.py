"""Are the published results of MAML on sinusoids reproduced, each on the protocol of its own paper?

`finn`: Finn et al. 2017, section 5.1 and the released code, which shows curves and no numbers; second-order MAML,
FOMAML, pre-training, Reptile by its own recipe, and an oracle whose inputs include amplitude and phase. `meta-sgd`: the
table of MAML in Li et al. 2017. All are tested on the same 10,000 tasks, the same for all seeds. Run on request.
"""

import hashlib
from collections.abc import Generator

import torch
from torch import Tensor

import baselines
from baselines.contract import InnerLoop
from experiments import papers
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.adaptation import Adaptation
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.measure.setup import Setup
from experiments.harness.records import Case, Options, Parameter, Parameters, Result, Row
from experiments.harness.records.files import sha256
from experiments.harness.status import Wrong
from experiments.papers.recipes import Recipe, Trained, adam, oracle, reptile
from experiments.problems.networks.initial import FAN_IN, TRUNCATED
from experiments.problems.tasks import family
from experiments.problems.tasks.stream import Stream

MAML = "compiled"
PRETRAINING = "pretraining-compiled"
METHODS: dict[str, tuple[str, Recipe]] = {  # implementation → its name in papers, and how it is trained
    MAML: ("maml", adam.train),
    "fomaml-compiled": ("fomaml", adam.train),
    "reptile": ("reptile", reptile.train),
    PRETRAINING: ("pretraining", adam.train),
    "oracle": ("oracle", oracle.train),
}
SHARE = {"quick": 0.01, "full": 1.0}  # of the papers' iterations
SEEDS = {"quick": (0,), "full": (0, 1, 2, 3, 4)}
HELDOUT = {"quick": 600, "full": 10_000}
IDENTITY = {"quick": 20, "full": 500}
SHOTS = (5, 10, 20)
STEPS = 10
DIVERGED = 100.0  # a task's mean squared error; predicting 0 has at most 12.5 on average over x
GRID = (0.001, 0.003, 0.01, 0.03, 0.1)
TUNING_TASKS = 1000
SKETCHES, SKETCH_SHOTS, SKETCH_POINTS = 2, 10, 200  # tasks whose curves are stored, their support points, and their x
TOLERANCE = 1e-9
PEERS = ("unrolled", "learn2learn")
COMMON: dict[str, Parameter] = {
    "model": {"hidden": 2, "width": 40, "activation": "relu"},
    "inner_lr": 0.01,
    "inner_steps": 1,
    "outer_lr": 1e-3,
}
PROTOCOLS: dict[str, dict[str, Parameter]] = {
    "finn": {"family": "sinusoid", "initial": TRUNCATED, "tasks": 25, "iterations": 70_000},
    "meta-sgd": {"family": "sinusoid_frequency", "initial": FAN_IN, "tasks": 4, "iterations": 60_000},
}
TRAIN_SHOTS = {"finn": (10,), "meta-sgd": SHOTS}
REPORTED_STEPS = {"finn": (0, 1, STEPS), "meta-sgd": (1,)}  # the gradient steps after which a row has the loss


def cases(options: Options) -> list[Case]:
    """Return a case for each protocol, number of training shots and seed."""
    every = []
    for protocol, specific in PROTOCOLS.items():
        for shots in TRAIN_SHOTS[protocol]:
            params = Parameters(COMMON | specific).extended(protocol=protocol, shots=shots, queries=shots)
            params["share"] = SHARE[options.profile]
            params["iterations"] = round(params.integer("iterations") * params.number("share"))
            params["heldout_tasks"] = HELDOUT[options.profile]
            params["identity"] = IDENTITY[options.profile]
            params["figures"] = sha256(papers.FILE)  # rows hold numbers from there
            name = f"{protocol}-{shots}shots-{params['iterations']}"
            for seed in options.seeds or SEEDS[options.profile]:
                every.append(Case("published", name, params, options.device, "float32", seed, options.threads))
    return every


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Train by the method's recipe, then measure the losses of adapted models against gradient steps on test tasks."""
    yield 0.0
    p = bench.params
    digest = hashlib.sha256()
    row: Row = {"iterations": p.integer("iterations")}
    if bench.name == MAML and bench.case.seed == 0:
        row["identity"] = identity(bench)
    trained = yield from METHODS[bench.name][1](bench)
    rows: list[Row] = []
    series: dict[str, dict[str, list[float]]] = {}
    for shots in SHOTS:
        stream = heldout(p.integer("heldout_tasks"), shots, trained.family, "heldout")
        batch = bench.tensors(stream.batch(0))
        digest.update(stream.digest.encode())
        lr = tuned(bench, trained, shots) if bench.name == PRETRAINING else trained.lr
        losses = Adaptation(trained.model, bench.loss, InnerLoop(lr, STEPS)).losses(batch)  # (steps + 1, tasks)
        summaries = [summary(step) for step in losses]
        curves = {
            name: [float(each[name]) for each in summaries] for name in ("loss", "loss_lo", "loss_hi", "loss_median")
        }
        series[f"adaptation_{shots}"] = {"step": [float(k) for k in range(STEPS + 1)], **curves}
        for steps in REPORTED_STEPS[p.text("protocol")]:
            rows.append({**row, "test_shots": shots, "steps": steps, "alpha": lr, **summaries[steps]})
            rows[-1] |= published(p, METHODS[bench.name][0], shots, steps)
        if shots == SKETCH_SHOTS and p.text("protocol") == "finn":
            series |= sketches(bench, trained, lr)
    bench.inputs_digest = (
        digest.hexdigest()
    )  # of the test tasks, which are equal for all; training tasks are up to the recipe
    return Result(rows=rows, series=series)


def identity(bench: Bench) -> float:
    """Compute the largest relative difference between training losses of MAML here and those of PEERS, in float64.

    It is over the first iterations of the same training; raises Wrong beyond 1e-9. A library that is not installed is
    left out.
    """
    p = bench.params
    curves: list[Tensor] = []
    for name in (bench.name, *PEERS):
        spec = bench.spec(torch.float64)
        try:
            implementation = baselines.load(baselines.find(name))
        except ImportError:
            continue
        batches = (bench.batch(i, dtype=torch.float64) for i in range(p.integer("identity")))
        losses = outer_loop(Setup(spec, implementation(spec)), p.number("outer_lr"), batches)
        curves.append(torch.stack([loss for loss in losses if loss is not None]))
    difference = max(float(((curve - curves[0]) / curves[0]).abs().max()) for curve in curves[1:])
    if not difference <= TOLERANCE:
        raise Wrong(f"training losses of {bench.name} and its peers differ by {difference:.1e} in float64")
    return difference


def heldout(tasks: int, shots: int, name: str, purpose: str) -> Stream:
    """Return a stream of held-out tasks of the family `name`, equal for every seed, with as many queries as shots."""
    return Stream(family(name), 0, tasks, shots, shots, purpose)


def sketches(bench: Bench, trained: Trained, lr: float) -> dict[str, dict[str, list[float]]]:
    """Return curves of some held-out tasks: the sinusoid, the support points, and predictions after gradient steps."""
    stream = Stream(family(trained.family), 0, SKETCHES, SKETCH_SHOTS, SKETCH_POINTS, "sketch")
    adaptation = Adaptation(trained.model, bench.loss, InnerLoop(lr, STEPS))
    series = {}
    tasks = zip(*bench.tensors(stream.batch(0)), strict=True)
    for task, (support_x, support_y, query_x, query_y) in enumerate(tasks):
        after = adaptation.predictions(support_x, support_y, query_x)
        order = query_x[:, 0].argsort()  # an oracle's further inputs come after x
        curves = {"x": query_x, "y": query_y} | {f"after_{k}": after[k] for k in (0, 1, STEPS)}
        series[f"sketch_{task}"] = {name: values[order, 0].tolist() for name, values in curves.items()}
        support = {"x": support_x[:, 0], "y": support_y[:, 0]}
        series[f"sketch_{task}_support"] = {name: values.tolist() for name, values in support.items()}
    return series


def tuned(bench: Bench, trained: Trained, shots: int) -> float:
    """Choose the step size of GRID with the smallest mean loss after 10 steps, on tasks other than the test tasks."""
    batch = bench.tensors(heldout(TUNING_TASKS, shots, trained.family, "tuning").batch(0))

    def loss(lr: float) -> float:
        after = Adaptation(trained.model, bench.loss, InnerLoop(lr, STEPS)).losses(batch)[-1]
        return float(after.double().mean().nan_to_num(float("inf")))

    return min(GRID, key=loss)


def summary(losses: Tensor) -> dict[str, float]:
    """Compute mean, its interval (1.96 standard errors), median and number of diverged tasks of losses (tasks,)."""
    values = losses.double()
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return {
        "loss": mean,
        "loss_lo": mean - half,
        "loss_hi": mean + half,
        "tasks_half_width": half,
        "loss_median": float(values.nan_to_num(torch.inf, torch.inf).median()),  # NaN has diverged, too
        "diverged": int((~(values < DIVERGED)).sum()),
    }


def published(params: Parameters, method: str, shots: int, steps: int) -> Row:
    """Return the published number for the same protocol, method, shots and steps, with its source."""
    figure = papers.find(params.text("protocol"), method, params.integer("shots"), shots, steps)
    if figure is None:
        return {"source": "no number is published"}
    row = {"published": figure.value, "published_half_width": figure.half_width}
    return row | {"source": f"{figure.source} ({figure.certainty})"}


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("train", measure),),
    compared=tuple(METHODS),
    by_default=False,
    # the table of verdicts has the means, and names the seeds where a task diverged so far that there is none
)
