"""One meta-batch over many ranks: each computes its share of the tasks, and one all-reduce adds up what they found.

    meta-gradient = Σ_r n_r g_r / Σ_r n_r        g_r: the mean over the n_r tasks of rank r

The implementation on each rank is unchanged and sees a smaller meta-batch. What it knows of the others is here.
"""

import os
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from baselines.contract import Baseline, MetaGradient, TaskBatch, trainable
from experiments.harness.records import Status
from experiments.harness.status import Stopped, Unavailable, Wrong

SILENCE = timedelta(minutes=30)
"""A rank that is not heard of for so long is taken for dead: compiling takes minutes. One that ends is noticed at
once."""


class PeerLost(Stopped):
    """Another rank is gone; why, that rank or its parent tells."""

    status = Status.LOST


def join(name: str, device: str) -> "Rank":
    """Become this rank of the process group `name`, by torchrun's variables and on its store; waits for all ranks."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("this rank has no CUDA device of its own")
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = dist.TCPStore(address, port, is_master=False, timeout=SILENCE)  # type: ignore[attr-defined]
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=dist.PrefixStore(name, store),  # type: ignore[attr-defined]
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
            timeout=SILENCE,
        )
    except RuntimeError as error:
        raise PeerLost(str(error)) from error
    return Rank()


def add_up(values: Tensor) -> None:
    """Replace `values` by their sum over all ranks, the same bits on every rank."""
    try:
        dist.all_reduce(values)
    except RuntimeError as error:
        raise PeerLost(str(error)) from error


def from_leader(values: Tensor) -> None:
    """Replace `values` by those of rank 0."""
    try:
        dist.broadcast(values, src=0)
    except RuntimeError as error:
        raise PeerLost(str(error)) from error


class Rank:
    """This process as one of those in the process group: its share of each meta-batch is smaller."""

    whole = False

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return dist.get_rank() == 0

    def shared(self, implementation: Baseline) -> Baseline:
        """Return the implementation over all ranks."""
        return Sharded(implementation)

    def agreed(self, content: bytes, device: torch.device) -> bytes:
        """Return rank 0's `content`, on every rank: no other one needs the file that it is of."""
        size = torch.tensor([len(content)], device=device)
        from_leader(size)
        values = torch.zeros(int(size), dtype=torch.uint8, device=device)
        if self.leads and content:
            values.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        from_leader(values)
        return values.cpu().numpy().tobytes()

    def check_weights(self, model: nn.Module) -> None:
        """Raise Wrong, on the rank concerned, where the weights are not rank 0's to the last bit."""
        own = torch.cat([p.detach().flatten() for p in trainable(model).values()])
        leaders = own.clone()
        from_leader(leaders)
        if not torch.equal(own, leaders):
            raise Wrong("its weights are no longer those of rank 0")


class Shard(NamedTuple):
    """This rank's part of a meta-batch: the tasks `mine` of `tasks`, prepared; None where there are none."""

    prepared: object
    mine: slice
    tasks: int


class Sharded(Baseline):
    """An implementation on the ranks of the process group, all of which call it with the same meta-batch."""

    def __init__(self, baseline: Baseline) -> None:
        super().__init__(baseline.spec)
        self.baseline = baseline
        self.size = sum(p.numel() for p in trainable(baseline.spec.model).values())
        self.has_losses: bool | None = None
        """Whether the implementation computes task losses; asked once, since asking waits for the device."""

    def prepare(self, batch: TaskBatch) -> Shard:
        """Take this rank's tasks: the first ranks get one more where they do not divide evenly, the last perhaps none.

        Tasks are copied, so that tensors are aligned as those of a whole meta-batch: compiled code asks for it.
        """
        tasks, rank, ranks = len(batch.query_x), dist.get_rank(), dist.get_world_size()
        each, rest = divmod(tasks, ranks)
        first = rank * each + min(rank, rest)
        mine = slice(first, first + each + (rank < rest))
        own = TaskBatch(*(part[mine].clone() for part in batch))
        return Shard(self.baseline.prepare(own) if mine.start < mine.stop else None, mine, tasks)

    def meta_gradient(self, shard: Shard) -> MetaGradient:
        """Compute the meta-gradient of the whole meta-batch, on every rank."""
        values = self.new_values(shard.tasks)
        if shard.mine.start < shard.mine.stop:
            self.add(self.baseline.to_torch(self.baseline.meta_gradient(shard.prepared)), shard.mine, values)
            self.execution = self.baseline.execution
        add_up(values)
        return self.mean(values, shard.tasks)

    def new_values(self, tasks: int) -> Tensor:
        """Return zeros for what is added up: gradients times tasks, task losses, tasks with a loss, and tasks."""
        return torch.zeros(self.size + tasks + 2, dtype=self.spec.dtype, device=self.spec.device)

    def add(self, found: MetaGradient, mine: slice, values: Tensor) -> None:
        """Add this rank's part to the values."""
        own = mine.stop - mine.start
        grads = torch.cat([found.grads[name].flatten() for name in trainable(self.spec.model)])
        values[: self.size] = grads * own
        if found.task_losses is not None:
            values[self.size :][mine] = found.task_losses
            values[-2] = own
        values[-1] = own

    def mean(self, values: Tensor, tasks: int) -> MetaGradient:
        """Divide the sums by the number of tasks; raises Wrong where the tasks computed are not the meta-batch's."""
        if self.has_losses is None:
            told, computed = values[-2:].tolist()
            if computed != tasks:
                raise Wrong(f"all ranks together computed {computed:g} tasks of {tasks}")
            self.has_losses = told == tasks
        parameters = trainable(self.spec.model)
        parts = (values[: self.size] / values[-1]).split([p.numel() for p in parameters.values()])
        grads = {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        return MetaGradient(values[self.size : -2] if self.has_losses else None, grads)

    def synchronize(self) -> None:
        """Wait until the implementation's work is done."""
        self.baseline.synchronize()
