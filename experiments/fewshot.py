"""Do MAML, FOMAML and Reptile learn to classify images from a few examples, and as well as published?

Test tasks have N classes that training never saw and K support images of each; the network is the convolutional one of
Finn et al. 2017, section 5.2, which normalises by the images at hand. `glyphs` are generated and `digits` come with
scikit-learn, so both run anywhere; `omniglot` is the released recipe on real data, for a GPU. Run on request.
"""

import importlib.util
from collections.abc import Generator, Mapping

from torch import Tensor

from experiments import papers
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options, Parameter, Parameters, Result, Row
from experiments.harness.records.files import sha256
from experiments.harness.status import Unavailable
from experiments.papers.recipes import adam_images, reptile_images
from experiments.papers.recipes.accuracy import REPORTED_STEPS, Learned, Method, accuracies, episodes
from experiments.problems.tasks import omniglot

MAML, REPTILE = "unrolled", "reptile"
METHODS: dict[str, Method] = {  # implementation → how it is trained
    MAML: adam_images.train,
    "fomaml": adam_images.train,
    REPTILE: reptile_images.train,
    "untrained": adam_images.untrained,
}
TRANSDUCTIVE, ALONE = "all queries at once", "each query alone"
PAPERS = {  # the name in papers of an implementation, in the mode in which they tested it
    (MAML, TRANSDUCTIVE): "maml",
    ("fomaml", TRANSDUCTIVE): "fomaml",
    (REPTILE, TRANSDUCTIVE): "reptile + transduction",
    (REPTILE, ALONE): "reptile",
}
EPISODES = {"quick": 200, "full": 600}
SHEETS, SHEET_WAYS = 2, 5  # episodes whose images are stored, and the ways of cases that have them

NETWORK: dict[str, Parameter] = {"channels": 1, "strided": True, "loss": "cross-entropy"}
# by ways and shots; papers state an α of 0.4 (5 ways) or 0.1 (20) for a loss that is summed over ways
RELEASED: dict[tuple[int, int], dict[str, float]] = {
    (ways, shots): {
        "inner_lr": 2.0,
        "inner_steps": {5: 1, 20: 5}[ways],
        "test_steps": {5: 3, 20: 5}[ways],
        "queries": shots,
        "outer_lr": 1e-3,
        "tasks": {5: 32, 20: 16}[ways],
        "iterations": {5: 60_000, 20: 40_000}[ways],
    }
    for ways in (5, 20)
    for shots in (1, 5)
}
EMBEDDED: dict[str, float] = {
    "inner_lr": 0.4,
    "inner_steps": 1,
    "test_steps": 3,
    "queries": 5,
    "outer_lr": 3e-3,
    "tasks": 4,
}
SMALL = {
    "quick": {"glyphs": {"iterations": 600, "filters": 32}, "digits": {"iterations": 600, "filters": 32}},
    "full": {"glyphs": {"iterations": 10_000, "filters": 64}, "digits": {"iterations": 3000, "filters": 64}},
}
SIZES = {"glyphs": {"side": 28, "blocks": 4}, "digits": {"side": 8, "blocks": 2}}
WAYS_AND_SHOTS: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {
    "quick": {"glyphs": ((5, 1),), "digits": ((5, 1),)},
    "full": {"glyphs": ((5, 1), (5, 5), (20, 1)), "digits": ((5, 1),)},
}
SEEDS = {"quick": (0,), "full": (0, 1, 2)}


def cases(options: Options) -> list[Case]:
    """Return the cases of glyphs and digits, and the four of Omniglot that papers report."""
    every = []
    for name, chosen in WAYS_AND_SHOTS[options.profile].items():
        for ways, shots in chosen:
            small = SMALL[options.profile][name]
            network: dict[str, Parameter] = {**NETWORK, **SIZES[name], "filters": small["filters"], "outputs": ways}
            recipe = EMBEDDED | {"iterations": small["iterations"]}
            every += _cases(options, name, ways, shots, recipe, network)
    for (ways, shots), recipe in RELEASED.items():
        network = {**NETWORK, "side": omniglot.SIDE, "blocks": 4, "filters": 64, "outputs": ways}
        every += _cases(options, "omniglot", ways, shots, recipe, network)
    return every


def _cases(
    options: Options, name: str, ways: int, shots: int, recipe: dict[str, float], network: Mapping[str, Parameter]
) -> list[Case]:
    """Return a case for each seed."""
    params = Parameters(recipe).extended(
        family=name,
        model=network,
        ways=ways,
        shots=shots,
        episodes=EPISODES[options.profile],
        verify_in="float64",
        figures=sha256(papers.FILE),  # rows hold numbers from there
    )
    if name == "omniglot":
        params["released"] = options.profile == "full"
    label = f"{name}-{ways}way-{shots}shot"
    seeds = options.seeds or (SEEDS[options.profile] if name != "omniglot" else (0,))
    return [Case("fewshot", label, params, options.device, "float32", seed, options.threads) for seed in seeds]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Train, with validation at regular intervals; then measure the accuracy on test classes in both modes."""
    yield 0.0
    p = bench.params
    common: Row = {"ways": p.integer("ways"), "chance": 100 / p.integer("ways")}
    refuse(bench, common)
    series: dict[str, dict[str, list[float]]] = {}
    rows: list[Row] = []
    learned: Learned | None = None
    for mode in (TRANSDUCTIVE, ALONE):
        learned = yield from METHODS[bench.name](bench, mode == ALONE, learned)
        percentages = accuracies(learned.adapts, episodes(bench, "heldout", p.integer("episodes")), mode == ALONE)
        means = {k: summary(each) for k, each in zip(learned.adapts.told, percentages, strict=True)}
        for steps in (0, learned.steps):
            rows.append({**common, **learned.row, "mode": mode, "steps": steps, **means[steps]})
            rows[-1] |= published(p, bench.name, mode, steps)
        if mode == TRANSDUCTIVE:
            curve = {name: [float(means[k][name]) for k in range(REPORTED_STEPS + 1)] for name in means[0]}
            series["adaptation"] = {"step": [float(k) for k in range(REPORTED_STEPS + 1)]} | curve
            series |= {"learning": learned.curve} if learned.curve else {}
            if bench.name == MAML and p.integer("ways") == SHEET_WAYS:
                series |= sheets(bench, learned)
    bench.inputs_digest = bench.streams[
        "heldout"
    ].digest  # of the test episodes, which are equal for all: `untrained` has no other
    return Result(rows=rows, series=series)


def published(params: Parameters, implementation: str, mode: str, steps: int) -> Row:
    """Return the published number for a case, mode and steps, with its source; empty for other data than Omniglot."""
    if params.text("family") != "omniglot" or steps == 0:
        return {}
    ways, shots = params.integer("ways"), params.integer("shots")
    figure = papers.find(f"omniglot-{ways}way", PAPERS.get((implementation, mode), ""), shots, shots, steps)
    if figure is None:
        return {"source": "no number is published"}
    row = {"published": figure.value, "published_half_width": figure.half_width}
    return row | {"source": f"{figure.source} ({figure.certainty})"}


def refuse(bench: Bench, row: Row) -> None:
    """Raise Unavailable, with rows of the published numbers, where data, scikit-learn or a GPU is lacking."""
    p, reason = bench.params, ""
    if p.text("family") != "omniglot":
        if p.text("family") == "digits" and importlib.util.find_spec("sklearn") is None:
            reason = "its images come with scikit-learn, which is not installed"
    elif not p.flag("released"):
        reason = "its 40,000 to 200,000 iterations are for the full profile"
    elif not omniglot.path().exists():
        reason = f"there is no {omniglot.FILE}, which `maml-bench fetch` makes"
    elif bench.device.type != "cuda":
        reason = "its 40,000 to 200,000 iterations need a GPU"
    if not reason:
        return
    rows: list[Row] = []
    for mode in (TRANSDUCTIVE, ALONE):
        if mode == TRANSDUCTIVE or (bench.name, mode) in PAPERS:
            reptile = bench.name == REPTILE
            steps = reptile_images.settings_for(p, mode == ALONE).test_steps if reptile else p.integer("test_steps")
            rows.append(row | {"mode": mode, "steps": steps} | published(p, bench.name, mode, steps))
    raise Unavailable(f"not run here: {reason}", rows=rows)


def summary(percentages: Tensor) -> dict[str, float]:
    """Compute the mean of percentages (episodes,) and its interval of 1.96 standard errors."""
    mean, half = float(percentages.mean()), 1.96 * float(percentages.std()) / len(percentages) ** 0.5
    return {"accuracy": mean, "accuracy_lo": mean - half, "accuracy_hi": mean + half, "tasks_half_width": half}


def sheets(bench: Bench, learned: Learned) -> dict[str, dict[str, list[float]]]:
    """Return images of some episodes: for each class a support and a query image, and the class predicted for it."""
    p = bench.params
    series: dict[str, dict[str, list[float]]] = {}
    for number, task in enumerate(zip(*next(episodes(bench, "sheet", SHEETS)), strict=True)):
        support_x, support_y, query_x, query_y = task
        predicted = learned.adapts.predictions(support_x, support_y, query_x)[learned.steps].argmax(-1)
        first = [(query_y.argmax(-1) == way).int().argmax().item() for way in range(p.integer("ways"))]
        support = [(support_y.argmax(-1) == way).int().argmax().item() for way in range(p.integer("ways"))]
        pixels = {f"support_{way}": _pixels(support_x[i]) for way, i in enumerate(support)}
        pixels |= {f"query_{way}": _pixels(query_x[i]) for way, i in enumerate(first)}
        series[f"sheet_{number}"] = pixels
        series[f"sheet_{number}_taken"] = {"for": [float(predicted[i]) for i in first]}
    return series


def _pixels(image: Tensor) -> list[float]:
    return [round(value, 2) for value in image.flatten().tolist()]


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("train", measure),),
    compared=tuple(METHODS),
    by_default=False,
)
