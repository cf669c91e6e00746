"""Build what a case asks for: its network with initial weights, its tasks as meta-batches, its loss and inner loop."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from baselines.contract import InnerLoop, Loss, TaskBatch
from experiments.harness.factory import from_file
from experiments.harness.records import Case, Parameters
from experiments.problems import networks
from experiments.problems.networks.initial import FAN_IN, initialise
from experiments.problems.networks.losses import LOSSES
from experiments.problems.tasks import family, stream
from experiments.problems.tasks.episodes import Episodes
from experiments.problems.tasks.stream import Arrays, Stream


class Problem:
    """The problem and the inner loop of a case, in its dtype and on its device.

    model_file: the file of the user's that the network comes from, if any. init_digest: SHA-256 of the initial weights'
    draws, empty before the first model. inputs_digest: that of inputs which an experiment brings itself.
    """

    def __init__(self, case: Case, model_file: Path | None = None) -> None:
        self.case, self.params, self.model_file = case, case.params, model_file
        self.device = torch.device(case.device)
        self.dtype: torch.dtype = getattr(torch, case.dtype)
        self.loss: Loss = LOSSES[self.params.part("model").text("loss", "squared error")]
        self.init_digest = ""
        self.inputs_digest = ""
        self.streams: dict[str, Stream | Episodes] = {}

    @property
    def inner(self) -> InnerLoop:
        """Return the case's inner loop."""
        return InnerLoop(self.params.number("inner_lr"), self.params.integer("inner_steps"))

    def stream(self, purpose: str = "train", tasks: int | None = None, seed: int | None = None) -> Stream | Episodes:
        """Return the case's tasks for a purpose; streams of different purposes are independent of one another.

        `tasks` and `seed` replace the case's own when the stream is first asked for.
        """
        if purpose not in self.streams:
            p = self.params
            seed = self.case.seed if seed is None else seed
            self.streams[purpose] = stream(p, seed, tasks or p.integer("tasks"), purpose)
        return self.streams[purpose]

    @property
    def stream_digest(self) -> str:
        """Return SHA-256 over the digests of everything that was drawn, whatever for; empty before the first draw.

        `inputs_digest` in its place, where an experiment brings inputs of its own.
        """
        if self.inputs_digest:
            return self.inputs_digest
        parts = [f"{purpose} {stream.digest}" for purpose, stream in sorted(self.streams.items())]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest() if parts else ""

    def batch(self, index: int, purpose: str = "train", dtype: torch.dtype | None = None) -> TaskBatch:
        """Return meta-batch `index` on the case's device."""
        return self.tensors(self.stream(purpose).batch(index), dtype)

    def tensors(self, arrays: Arrays, dtype: torch.dtype | None = None) -> TaskBatch:
        """Copy a meta-batch to the case's device, with images as (channels, side, side)."""
        batch = TaskBatch(*(torch.from_numpy(a).to(self.device, dtype or self.dtype) for a in arrays))
        network = self.params.part("model")
        if "side" not in network:
            return batch
        image = (network.integer("channels"), *[network.integer("side")] * 2)
        support_x, query_x = (x.unflatten(2, image) for x in (batch.support_x, batch.query_x))
        return batch._replace(support_x=support_x, query_x=query_x)

    def batches(self, count: int, start: int = 0) -> Iterator[TaskBatch]:
        """Return the first `count` meta-batches from number `start` on; those before are drawn for the digest."""
        for i in range(start):
            self.stream().batch(i)
        return (self.batch(i) for i in range(start, count))

    def model(self, dtype: torch.dtype) -> nn.Module:
        """Build a fresh model with the case's initial weights, drawn in float64 and then cast."""
        wanted = self.params.part("model")
        if "factory" in wanted:
            torch.manual_seed(self.case.seed)  # for parameters that only the factory knows how to initialise
            assert self.model_file is not None
            model: nn.Module = from_file(self.model_file, wanted.text("factory"))()
        else:
            model = networks.build(self.description)
        model = model.double()
        self.init_digest = initialise(model, self.case.seed, self.params.text("initial", FAN_IN))
        return model.to(self.device, dtype)

    @property
    def description(self) -> Parameters:
        """Return the case's built-in network, as `experiments.judging.oracles.described` reads it."""
        wanted = self.params.part("model")
        return wanted if "side" in wanted else wanted.extended(inputs=family(self.params.text("family")).inputs)
