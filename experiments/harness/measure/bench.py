"""Build an implementation for the problem of a case, and judge it before and after it is measured."""

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import baselines
from baselines.contract import Baseline, Computes, Spec, trainable
from experiments.harness.measure import environment
from experiments.harness.measure.problem import Problem
from experiments.harness.measure.ring import SIZE, Block, Ring
from experiments.harness.measure.setup import Setup, as_arrays, draws_random_numbers, points_of
from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.processes import imports
from experiments.harness.records import Case, Row
from experiments.harness.status import Lacking, Unavailable, Wrong
from experiments.judging import conformance, ground_truth, outside
from experiments.judging.examined import Examined
from experiments.judging.snapshot import Snapshot, in_words
from experiments.judging.verify import Check, Oracle, Reference, Weights
from experiments.problems.tasks import stream
from experiments.problems.tasks.stream import Arrays

DRAWS = 8  # meta-batches of which the first that can be judged is


@dataclass(frozen=True)
class Judged:
    """A call with fresh tasks, the name of the oracle that judged it, and the verdict.

    points: as rounded to the dtype, so that the oracle had the same inputs.
    """

    oracle: str
    check: Check
    found: Weights
    theta: Weights
    points: Arrays


class Bench(Problem):
    """One implementation in one case, built, judged and handed to what measures it.

    name: the implementation's. file, model_file: given where they lie outside the project. repeat: how many processes
    have made the same measurement of the cell before this one. oracle_results: a folder that all processes of one run
    and case share, since many ask an oracle the same. checkpoint: where a training keeps how far it is, and looks for
    how far an earlier one was. share: what this process does of a meta-batch.
    """

    def __init__(
        self,
        case: Case,
        name: str,
        file: Path | None,
        model_file: Path | None,
        repeat: int = 0,
        oracle_results: Path | None = None,
        checkpoint: Path | None = None,
        share: Share = WHOLE,
    ) -> None:
        super().__init__(case, model_file)
        self.name, self.file, self.repeat = name, file, repeat
        self.oracle_results, self.checkpoint, self.share = oracle_results, checkpoint, share
        self.verifications = 0

    # -- the implementation

    @functools.cached_property
    def implementation(self) -> type[Baseline]:
        """Load its class; raises Lacking, with the reason, where its file or library does not import."""
        if self.file:
            imports.execute(f"external_{self.file.stem}", self.file)
        try:
            return baselines.load(self.file or baselines.find(self.name))
        except Exception as error:
            raise Lacking(f"{type(error).__name__} at import: {error}") from error

    @property
    def computes(self) -> Computes:
        """Return what the implementation says it computes."""
        return self.implementation.computes

    def spec(self, dtype: torch.dtype) -> Spec:
        """Return what an implementation is built for, with a new model."""
        return Spec(self.model(dtype), self.loss, self.inner, self.device, dtype)

    def build(self, spec: Spec) -> Setup:
        """Build a new implementation for `spec`, over all processes that measure the cell together.

        Raises Unavailable with the implementation's own reason.
        """
        if lack := self.implementation.lacking(spec.device):
            raise Lacking(lack)
        if reason := self.implementation.unavailable(spec):
            raise Unavailable(reason)
        return Setup(spec, self.share.shared(self.implementation(spec)))

    @functools.cached_property
    def setup(self) -> Setup:
        """Build the very object that is measured, in the case's dtype."""
        built = self.build(self.spec(self.dtype))
        environment.settle(self.case.threads)  # an import or a constructor may have changed it
        return built

    # -- the oracle

    def oracle(self, computes: Computes, model: nn.Module) -> tuple[str, Oracle]:
        """Return the strongest oracle there is for the case's model, after its name."""
        described = None if "factory" in self.params.part("model") else self.description
        return ground_truth.oracle(described, model, self.loss, self.inner, computes)

    # -- verify, then measure

    def verify(self) -> Row:
        """Check the implementation on fresh tasks, in float64 and as the object that is measured.

        Returns the columns error_float64, error_<dtype> and oracle; raises Wrong where an error is larger than
        rounding explains, where it breaks the contract, or where it changed a numeric setting that all have to share. A
        case whose parameters have `verify_in` "float64" is content with that: steps so large that nothing can be told
        in float32.
        """
        row: Row = {}
        setups = {self.case.dtype: self.setup}
        first = self.verifications + self.repeat == 0
        if self.params.text("verify_in", "") == "float64":
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

    def conform(self, setup: Setup, row: Row) -> None:
        """Check every term of the contract; those of `thorough` where the case asks for it, or a file is the user's.

        Raises Wrong with the term that is broken. One of several processes sees only its share, and is not examined.
        """
        if not self.share.whole:
            return
        conformance.enforce(self.examined(setup), bool(self.file or self.params.flag("thorough")), row)

    def examined(self, setup: Setup) -> Examined:
        """Gather what the check of the contract works with: meta-batches of the case's shape, and its ground truth."""
        dtype = setup.spec.dtype
        # not one of the streams that the digest is of: nothing that is shown depends on it
        tasks = stream(self.params, self.case.seed, self.params.integer("tasks"), "conformance")

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
        """Compute the ground truth at these weights and points; return it after the oracle's name.

        Raises Unavailable where they cannot be judged: at a kink, or where rounding alone changes the result much. What
        float64 cannot judge, float32 cannot: there the change may be small again only because all of it is rounding.
        """
        name, oracle = self.oracle(self.computes, spec.model)
        return name, self.truth(name, oracle, spec.dtype, theta, points)

    def truth(self, name: str, oracle: Oracle, dtype: torch.dtype, theta: Weights, points: Arrays) -> Reference:
        """Compute the ground truth by an oracle, as `reference` does. Raises Unavailable as it does."""
        displacement = self.computes == "reptile" and self.inner.steps > 0
        key = f"{name} {self.computes} {dtype}"
        return ground_truth.reference(oracle, theta, points, dtype, displacement, self.oracle_results, key)
