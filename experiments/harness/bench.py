"""What a measuring process works with: the case's model, tasks and oracle, and the implementation built for them."""

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import baselines
from baselines.contract import Baseline, Computes, InnerLoop, Loss, MetaGradient, Spec, TaskBatch, trainable
from experiments import models
from experiments.harness import environment, imports
from experiments.harness.case import Case, Json
from experiments.harness.sharded import sharded
from experiments.harness.status import Lacking, Unavailable, Wrong
from experiments.harness.verify import MAX_KAPPA, Check, Oracle, Reference, Weights, reference, remembered
from experiments.models.initial import FAN_IN, initialise
from experiments.models.losses import LOSSES
from experiments.oracles import described
from experiments.oracles.double_backward import double_backward
from experiments.tasks import family, stream
from experiments.tasks.episodes import Episodes
from experiments.tasks.stream import Arrays, Stream

NEAREST_KINK = 1e-9
DRAWS = 8  # meta-batches of which the first that can be judged is
LARGEST_CNN = 4096  # filters × pixels: beyond it the gradient in NumPy would take minutes


@dataclass(frozen=True)
class Setup:
    """A model with the case's initial weights, and the implementation built for it, in one dtype."""

    spec: Spec
    baseline: Baseline

    def meta_gradient(self, batch: TaskBatch) -> MetaGradient:
        """The implementation's result as tensors, conversions included."""
        return self.baseline.to_torch(self.baseline.meta_gradient(self.baseline.prepare(batch)))


@dataclass(frozen=True)
class Judged:
    """A call with fresh tasks, the oracle's name, and the verdict on what was found."""

    oracle: str
    check: Check
    found: Weights
    theta: Weights
    points: Arrays
    """As rounded to the dtype, so that the oracle had the same inputs."""


@dataclass
class Bench:
    """One implementation in one case. `file` and `model_file` are given where they lie outside the project."""

    case: Case
    subject: str
    file: Path | None
    model_file: Path | None
    repeat: int = 0
    """How many processes have measured the same cell in the same pass before this one."""
    oracle_results: Path | None = None
    """A folder that all processes of one run and case share, since many ask an oracle the same."""
    checkpoint: Path | None = None
    """Where a training run keeps how far it is, and looks for how far an earlier one was."""

    def __post_init__(self) -> None:
        self.params = self.case.params
        self.device = torch.device(self.case.device)
        self.dtype: torch.dtype = getattr(torch, self.case.dtype)
        self.loss: Loss = LOSSES[self.params.get("model", {}).get("loss", "squared error")]
        self.init_digest = ""
        self.inputs_digest = ""
        self.streams: dict[str, Stream | Episodes] = {}
        self.verifications = 0

    # -- what the case asks for

    @property
    def inner(self) -> InnerLoop:
        """The case's inner loop."""
        return InnerLoop(self.params["inner_lr"], self.params["inner_steps"])

    def stream(self, purpose: str = "train", tasks: int | None = None, seed: int | None = None) -> Stream | Episodes:
        """The case's tasks; streams of another purpose are independent of those that are measured.

        `tasks` and `seed` replace the case's own when the stream is first asked for.
        """
        if purpose not in self.streams:
            p = self.params
            seed = self.case.seed if seed is None else seed
            self.streams[purpose] = stream(p, seed, tasks or p["tasks"], purpose)
        return self.streams[purpose]

    @property
    def stream_digest(self) -> str:
        """SHA-256 over the digests of everything that was drawn, whatever for; empty before the first draw.

        `inputs_digest` in its place, where an experiment brings inputs of its own.
        """
        if self.inputs_digest:
            return self.inputs_digest
        parts = [f"{purpose} {stream.digest}" for purpose, stream in sorted(self.streams.items())]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest() if parts else ""

    def batch(self, index: int, purpose: str = "train", dtype: torch.dtype | None = None) -> TaskBatch:
        """Meta-batch `index` on the case's device."""
        return self.tensors(self.stream(purpose).batch(index), dtype)

    def tensors(self, arrays: Arrays, dtype: torch.dtype | None = None) -> TaskBatch:
        """A meta-batch on the case's device, images as such."""
        batch = TaskBatch(*(torch.from_numpy(a).to(self.device, dtype or self.dtype) for a in arrays))
        if "side" not in self.params["model"]:
            return batch
        image = (self.params["model"]["channels"], *[self.params["model"]["side"]] * 2)
        support_x, query_x = (x.unflatten(2, image) for x in (batch.support_x, batch.query_x))
        return batch._replace(support_x=support_x, query_x=query_x)

    def batches(self, count: int, start: int = 0) -> Iterator[TaskBatch]:
        """The first `count` meta-batches, in order, from number `start` on; those before are drawn for the digest."""
        for i in range(start):
            self.stream().batch(i)
        return (self.batch(i) for i in range(start, count))

    def model(self, dtype: torch.dtype) -> nn.Module:
        """A fresh model with the case's initial weights, drawn in float64 and then cast."""
        wanted = self.params["model"]
        if "factory" in wanted:
            torch.manual_seed(self.case.seed)  # for parameters that only the factory knows how to initialise
            assert self.model_file is not None
            model: nn.Module = from_file(self.model_file, wanted["factory"])()
        else:
            model = models.build(self.description)
        model = model.double()
        self.init_digest = initialise(model, self.case.seed, self.params.get("initial", FAN_IN))
        return model.to(self.device, dtype)

    @property
    def description(self) -> dict[str, Json]:
        """The case's built-in network, as `experiments.oracles.described` reads it."""
        wanted = self.params["model"]
        return wanted if "side" in wanted else {"inputs": family(self.params["family"]).inputs, **wanted}

    # -- the implementation

    @functools.cached_property
    def implementation(self) -> type[Baseline]:
        """Its class; raises Lacking, with the reason, where its file or library does not import."""
        if self.file:
            imports.execute(f"external_{self.file.stem}", self.file)
        try:
            return baselines.load(self.file or baselines.find(self.subject))
        except Exception as error:
            raise Lacking(f"{type(error).__name__} at import: {error}") from error

    @property
    def computes(self) -> Computes:
        """What the implementation says it computes."""
        return self.implementation.computes

    def spec(self, dtype: torch.dtype) -> Spec:
        """What an implementation is built for, with a new model."""
        return Spec(self.model(dtype), self.loss, self.inner, self.device, dtype)

    def build(self, spec: Spec) -> Setup:
        """A new implementation for `spec`, over all ranks where the process is one of several.

        Raises Unavailable with the implementation's own reason.
        """
        if lack := self.implementation.lacking(spec.device):
            raise Lacking(lack)
        if reason := self.implementation.unavailable(spec):
            raise Unavailable(reason)
        return Setup(spec, sharded(self.implementation(spec)))

    @functools.cached_property
    def setup(self) -> Setup:
        """The very object that is measured, in the case's dtype."""
        built = self.build(self.spec(self.dtype))
        environment.settle(self.case.threads)  # an import or a constructor may have changed it
        return built

    # -- the oracle

    def oracle(self, computes: Computes, model: nn.Module) -> tuple[str, Oracle]:
        """The strongest oracle there is for the case's model, and its name."""
        inner, wanted = self.inner, self.params["model"]
        large = wanted.get("filters", 0) * wanted.get("side", 0) ** 2 > LARGEST_CNN
        if "factory" in wanted or large or wanted.get("loss") == "cross-entropy":

            def by_autograd(theta: Weights, batch: Arrays) -> Weights:
                return double_backward(computes, model, self.loss, theta, batch, inner.lr, inner.steps)

            return "double backward", by_autograd
        by_numpy = described.Oracle(self.description, inner.lr, inner.steps)

        def away_from_kinks(theta: Weights, batch: Arrays) -> Weights:
            found = by_numpy(computes, theta, batch)
            if by_numpy.nearest_kink < NEAREST_KINK:
                raise Unavailable(f"a unit is {by_numpy.nearest_kink:.0e} from its kink")
            return found

        return by_numpy.name, away_from_kinks

    # -- verify, then measure

    def verify(self) -> dict[str, Json]:
        """Check the implementation on fresh tasks, in float64 and as the object that is measured.

        Returns the columns error_float64, error_<dtype> and oracle; raises Wrong where an error is larger than
        rounding explains, or where it changed a numeric setting that all have to share. A case whose parameters have
        `verify_in` "float64" is content with that: steps so large that nothing can be told in float32.
        """
        row: dict[str, Json] = {}
        setups = {self.case.dtype: self.setup}
        if self.params.get("verify_in") == "float64":
            setups = {"float64": self.build(self.spec(torch.float64))}
        elif self.verifications + self.repeat == 0:  # a second build for each later check would only repeat the first
            setups.setdefault("float64", self.build(self.spec(torch.float64)))
        for dtype, setup in sorted(setups.items(), reverse=True):
            judged = self.judge(setup)
            row |= {"oracle": judged.oracle, f"error_{dtype}": judged.check.error}
            if not judged.check.right:
                raise Wrong(
                    f"{dtype} error {judged.check.error:.1e} against the {judged.oracle} oracle for {self.computes}, "
                    f"tolerance {judged.check.tolerance:.1e}",
                    row,
                )
        if changed := environment.unsettled(self.case.threads):
            raise Wrong(changed, row)
        self.verifications += 1
        return row

    def judge(self, setup: Setup) -> Judged:
        """Compare one call with the oracle for what the implementation says it computes.

        A meta-batch that is ill-conditioned, as where rounding moves one of a large network's many units over its kink,
        is passed over for the next. All are drawn, so that the digest of the tasks does not depend on which was judged.
        """
        dtype = setup.spec.dtype
        theta = as_arrays(trainable(setup.spec.model))
        reason = ""
        first = self.verifications * DRAWS
        for batch in [self.batch(first + draw, "verify", dtype) for draw in range(DRAWS)]:
            points = Arrays(*(part.double().cpu().numpy() for part in batch))  # as rounded, so that inputs are equal
            try:
                name, said = self.reference(setup.spec, theta, points)
            except Unavailable as unknown:
                reason = str(unknown)
                continue
            if said.kappa > MAX_KAPPA:
                reason = f"it is ill-conditioned (κ = {said.kappa:.0e})"
                continue
            found = as_arrays(setup.meta_gradient(batch).grads)
            return Judged(name, said.check(found), found, theta, points)
        raise Unavailable(f"the case cannot be judged: {reason}, as were {DRAWS - 1} other meta-batches")

    def reference(self, spec: Spec, theta: Weights, points: Arrays) -> tuple[str, Reference]:
        """The oracle's name, and what it says of these weights and points; raises Unavailable at a kink."""
        name, oracle = self.oracle(self.computes, spec.model)
        reptile = self.computes == "reptile" and self.inner.steps > 0

        def ask() -> Reference:
            return reference(oracle, theta, points, torch.finfo(spec.dtype).eps, displacement=reptile)

        if self.oracle_results is None:
            return name, ask()
        return name, remembered(self.oracle_results, f"{name} {self.computes} {spec.dtype}", theta, points, ask)


def as_arrays(tensors: dict[str, torch.Tensor]) -> Weights:
    """Tensors as float64 arrays, copied."""
    return {name: t.detach().double().cpu().numpy().copy() for name, t in tensors.items()}


def from_file(file: Path, factory: str) -> Callable[[], nn.Module]:
    """What a user's file calls `factory`."""
    imports.execute(f"external_model_{file.stem}", file)
    spec = importlib.util.spec_from_file_location(f"external_model_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[], nn.Module] = getattr(module, factory)
    return found
