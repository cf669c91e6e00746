"""What a measuring process works with: the case's model, tasks and oracle, and the implementation built for them."""

import functools
import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import baselines
from baselines.contract import Baseline, Computes, InnerLoop, Loss, Spec, TaskBatch, trainable
from experiments.harness.case import Case, Json
from experiments.harness.factory import from_file
from experiments.harness.measure import environment
from experiments.harness.measure.ring import SIZE, Block, Ring
from experiments.harness.measure.setup import Setup, as_arrays, draws_random_numbers, points_of
from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.processes import imports
from experiments.harness.status import Lacking, Unavailable, Wrong
from experiments.judging import conformance, ground_truth, outside
from experiments.judging.examined import Examined
from experiments.judging.snapshot import Snapshot, in_words
from experiments.judging.verify import Check, Oracle, Reference, Weights
from experiments.problems import networks
from experiments.problems.networks.initial import FAN_IN, initialise
from experiments.problems.networks.losses import LOSSES
from experiments.problems.tasks import family, stream
from experiments.problems.tasks.episodes import Episodes
from experiments.problems.tasks.stream import Arrays, Stream

DRAWS = 8  # meta-batches of which the first that can be judged is


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
    share: Share = WHOLE
    """What this process does of a meta-batch."""

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
            model = networks.build(self.description)
        model = model.double()
        self.init_digest = initialise(model, self.case.seed, self.params.get("initial", FAN_IN))
        return model.to(self.device, dtype)

    @property
    def description(self) -> dict[str, Json]:
        """The case's built-in network, as `experiments.judging.oracles.described` reads it."""
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
        """A new implementation for `spec`, over all processes that measure the cell together.

        Raises Unavailable with the implementation's own reason.
        """
        if lack := self.implementation.lacking(spec.device):
            raise Lacking(lack)
        if reason := self.implementation.unavailable(spec):
            raise Unavailable(reason)
        return Setup(spec, self.share.shared(self.implementation(spec)))

    @functools.cached_property
    def setup(self) -> Setup:
        """The very object that is measured, in the case's dtype."""
        built = self.build(self.spec(self.dtype))
        environment.settle(self.case.threads)  # an import or a constructor may have changed it
        return built

    # -- the oracle

    def oracle(self, computes: Computes, model: nn.Module) -> tuple[str, Oracle]:
        """The strongest oracle there is for the case's model, and its name."""
        described = None if "factory" in self.params["model"] else self.description
        return ground_truth.oracle(described, model, self.loss, self.inner, computes)

    # -- verify, then measure

    def verify(self) -> dict[str, Json]:
        """Check the implementation on fresh tasks, in float64 and as the object that is measured.

        Returns the columns error_float64, error_<dtype> and oracle; raises Wrong where an error is larger than
        rounding explains, where it breaks the contract, or where it changed a numeric setting that all have to share. A
        case whose parameters have `verify_in` "float64" is content with that: steps so large that nothing can be told
        in float32.
        """
        row: dict[str, Json] = {}
        setups = {self.case.dtype: self.setup}
        first = self.verifications + self.repeat == 0
        if self.params.get("verify_in") == "float64":
            setups = {"float64": self.build(self.spec(torch.float64))}
        elif first:  # a second build for each later check would only repeat the first
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
        if first:
            self.conform(setups.get(self.case.dtype, setup), row)
        if changed := environment.unsettled(self.case.threads):
            raise Wrong(changed, row)
        self.verifications += 1
        return row

    def conform(self, setup: Setup, row: dict[str, Json]) -> None:
        """Check every term of the contract; those of `thorough` where the case asks for it, or a file is the user's.

        Raises Wrong with the term that is broken. One of several processes sees only its share, and is not examined.
        """
        if not self.share.whole:
            return
        conformance.enforce(self.examined(setup), bool(self.file or self.params.get("thorough")), row)

    def examined(self, setup: Setup) -> Examined:
        """What the check of the contract works with: meta-batches of the case's shape, and its ground truth."""
        dtype = setup.spec.dtype
        # not one of the streams that the digest is of: nothing that is shown depends on it
        tasks = stream(self.params, self.case.seed, self.params["tasks"], "conformance")

        def larger(steps: int) -> Setup:
            inner = replace(setup.spec.inner, steps=steps)
            return self.build(replace(setup.spec, model=self.model(dtype), inner=inner))

        return Examined(
            setup,
            Ring(setup, [self.tensors(tasks.batch(i), dtype) for i in range(SIZE)]),
            lambda theta, points: self.reference(setup.spec, theta, points)[1],
            self.case.threads,
            larger,
        )

    def judge(self, setup: Setup) -> Judged:
        """Compare one call with the oracle for what the implementation says it computes.

        A meta-batch that is ill-conditioned, as where rounding moves one of a large network's many units over its kink,
        is passed over for the next. All are drawn, so that the digest of the tasks does not depend on which was judged.
        Raises Unavailable where none can be judged, and Wrong where the call changes what it has to leave as it was.
        """
        dtype = setup.spec.dtype
        theta = as_arrays(trainable(setup.spec.model))
        reason = ""
        first = self.verifications * DRAWS
        batches = [self.batch(first + draw, "verify", dtype) for draw in range(DRAWS)]
        if draws_random_numbers(setup.spec.model, batches[0].support_x[0]):
            raise Unavailable("the network draws random numbers, so that no call can be compared with another")
        for draw, batch in enumerate(batches):
            points = points_of(batch)
            try:
                if dtype != torch.float64:  # where float64 cannot judge, nothing can
                    self.exact_reference(first + draw)
                name, truth = self.reference(setup.spec, theta, points)
            except Unavailable as unknown:
                reason = str(unknown)
                continue
            before = Snapshot(setup.spec.model, batch)
            found = as_arrays(setup.meta_gradient(batch).grads)
            changed = before.changes(random=True)
            environment.settle(self.case.threads)
            if changed:
                raise Wrong(in_words(changed))
            return Judged(name, truth.check(found), found, theta, points)
        raise Unavailable(f"the case cannot be judged: {reason}, as were {DRAWS - 1} other meta-batches")

    def exact_reference(self, index: int) -> None:
        """Raise Unavailable where float64 could not be judged by meta-batch `index`."""
        spec = self.spec(torch.float64)
        points = points_of(self.tensors(self.stream("verify").batch(index), torch.float64))
        self.reference(spec, as_arrays(trainable(spec.model)), points)

    def judge_timed(self, ring: Ring, blocks: Sequence[Block]) -> None:
        """Compare the result of a call that was timed, chosen at random, with the ground truth.

        Raises Wrong where it is another one, or where work is done outside the timed calls. Of the blocks' picks the
        first that can be judged counts; where none can, more blocks are made. Raises Unavailable where all are in vain.
        """
        picks = [block.pick for block in blocks]
        random.SystemRandom().shuffle(picks)
        for pick in itertools.chain(picks, (ring.block().pick for _ in range(DRAWS))):
            try:
                _, truth = self.reference(ring.setup.spec, pick.theta, pick.points)
            except Unavailable as unknown:
                reason = str(unknown)
                continue
            judged = truth.check(as_arrays(pick.result.grads))
            if not judged.right:
                raise Wrong(f"a timed call errs by {judged.error:.1e}, tolerance {judged.tolerance:.1e}")
            break
        else:
            raise Unavailable(f"no call that was timed can be judged: {reason}, as in {DRAWS + len(picks) - 1} others")
        if shown := outside.of_blocks(ring, blocks, self.case.threads):
            raise Wrong(shown)

    def reference(self, spec: Spec, theta: Weights, points: Arrays) -> tuple[str, Reference]:
        """The oracle's name, and what it says of these weights and points.

        Raises Unavailable where they cannot be judged: at a kink, or where rounding alone changes the result much. What
        float64 cannot judge, float32 cannot: there the change may be small again only because all of it is rounding.
        """
        name, oracle = self.oracle(self.computes, spec.model)
        return name, self.truth(name, oracle, spec.dtype, theta, points)

    def truth(self, name: str, oracle: Oracle, dtype: torch.dtype, theta: Weights, points: Arrays) -> Reference:
        """What the oracle of that name says, as `reference` does. Raises Unavailable as it does."""
        displacement = self.computes == "reptile" and self.inner.steps > 0
        key = f"{name} {self.computes} {dtype}"
        return ground_truth.reference(oracle, theta, points, dtype, displacement, self.oracle_results, key)
