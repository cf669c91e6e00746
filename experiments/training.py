"""How does the loss fall with each implementation, from the same weights on the same tasks?

The tutorial notebook's training: meta-batches of 10 sinusoid tasks with 5 support and 5 query points, one inner step of
α = 0.01, Adam with 1e-3; 50,000 meta-iterations in the full profile. In float64, implementations that compute the same
have to agree to 1e-9 over the first 100 iterations. Later they differ by rounding; the paired comparison of their
losses on held-out tasks shows whether they differ by more.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

from baselines.contract import trainable
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure import checkpoint
from experiments.harness.measure.adaptation import heldout_losses
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.records import Case, Options, Parameter, Parameters, Result
from experiments.harness.status import Diverged

ITERATIONS = {"quick": 100, "full": 50_000}
EVALUATIONS = {"quick": 5, "full": 50}
HELDOUT = {"quick": 100, "full": 1000}
SEEDS = (0, 1, 2)
OUTER_LR = 1e-3
MODEL: dict[str, Parameter] = {"hidden": 2, "width": 40, "activation": "relu"}


def cases(options: Options) -> list[Case]:
    """Return the cases: every seed in float32, and the first one in float64 too."""
    params = Parameters(
        family="sinusoid",
        model=options.network(MODEL),
        tasks=10,
        shots=5,
        queries=5,
        inner_lr=0.01,
        inner_steps=1,
        outer_lr=OUTER_LR,
        iterations=ITERATIONS[options.profile],
        evaluations=EVALUATIONS[options.profile],
        heldout_tasks=HELDOUT[options.profile],
    )
    name = f"notebook-{params['iterations']}"
    seeds = options.seeds or SEEDS
    runs = [("float32", seed) for seed in seeds] + [("float64", seeds[0])]
    return [Case("training", name, params, options.device, dtype, seed, options.threads) for dtype, seed in runs]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Train once, with the losses on held-out tasks at regular intervals; a turn lasts from one evaluation to the next.

    Each evaluation saves a checkpoint, from which an interrupted training goes on.
    """
    yield 0.0
    row = bench.verify()
    iterations = bench.params.integer("iterations")
    every = iterations // bench.params.integer("evaluations")
    model = bench.setup.spec.model
    adam = torch.optim.Adam(trainable(model).values(), lr=bench.params.number("outer_lr"))
    looks = Looks(bench)
    curve: list[float] = []  # the query loss of every iteration
    resumed: list[int] = []
    if saved := checkpoint.resume(bench.checkpoint, model, adam, bench.share):
        looks.curve, curve, resumed = saved.curves["heldout"], saved.curves["train"]["query_loss"], saved.resumed
        resumed.append(looks.iteration)
    else:
        looks.look(0)
    start = looks.iteration
    unread: list[Tensor] = []  # losses that are still on the device
    training = outer_loop(bench.setup, bench.params.number("outer_lr"), bench.batches(iterations, start), adam)
    for iteration, loss in enumerate(training, start=start + 1):
        if loss is not None:
            unread.append(loss)
        if iteration % every == 0 or iteration == iterations:
            curve += read(unread, first=len(curve) + 1)
            unread.clear()
            looks.look(iteration)
            bench.share.check_weights(model)
            if iteration < iterations:
                told = checkpoint.Told({"heldout": looks.curve, "train": {"query_loss": curve}}, resumed)
                checkpoint.save(bench.checkpoint, model, adam, told, bench.share)
            yield iteration / iterations
    series = {"heldout": looks.curve}
    if curve:
        series["train"] = {"iteration": [float(i + 1) for i in range(len(curve))], "query_loss": curve}
    return Result(
        row=row
        | {
            "iterations": iterations,
            "heldout_tasks": bench.params.integer("heldout_tasks"),
            "ranks": bench.params.integer("ranks", 1),
            "execution": bench.setup.baseline.execution,
            "resumed_at": ", ".join(map(str, resumed)),
        },
        observations={"loss_before": looks.before.tolist(), "query_loss": looks.after.tolist()},
        series=series,
        note="K = 1: joint training; Reptile's own recipe has K ≥ 5" if bench.computes == "reptile" else "",
    )


class Looks:
    """Evaluations of one model on the same held-out tasks during a training, and the curve of their means."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        # the same tasks for every seed too, so that seeds differ by their training alone
        bench.stream("heldout", tasks=bench.params.integer("heldout_tasks"), seed=0)
        self.batch = bench.batch(0, "heldout")
        self.curve: dict[str, list[float]] = {"iteration": [], "loss_before": [], "query_loss": []}

    @property
    def iteration(self) -> int:
        """Return the iteration of the last evaluation."""
        return int(self.curve["iteration"][-1])

    def look(self, iteration: int) -> None:
        """Compute query losses before and after adaptation, (tasks,) each, and add their means to the curve.

        Raises Diverged where one is not finite.
        """
        spec = self.bench.setup.spec
        self.before, self.after = heldout_losses(spec.model, spec.loss, spec.inner, self.batch)
        if not torch.isfinite(self.after).all():
            raise Diverged(f"the held-out loss is not finite after iteration {iteration}")
        for name, value in (("iteration", iteration), ("loss_before", self.before), ("query_loss", self.after)):
            self.curve[name].append(value.double().mean().item() if isinstance(value, Tensor) else value)


def read(losses: list[Tensor], first: int) -> list[float]:
    """Copy losses from the device; raises Diverged, with the iteration, where one is not finite.

    first: the iteration of the first loss.
    """
    values: list[float] = torch.stack(losses).tolist() if losses else []
    for iteration, value in enumerate(values, start=first):
        if not math.isfinite(value):
            raise Diverged(f"the query loss is not finite at iteration {iteration}")
    return values


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("train", measure),),
    ranks="any",
)
