"""One rank of `test_ranks`, started with torchrun's variables; it keeps its results in a folder."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from experiments import training
from experiments.harness.distributed import sharded
from experiments.harness.experiment import Result
from experiments.harness.measure.bench import Bench
from experiments.harness.measure.outer_loop import outer_loop
from experiments.harness.measure.share import WHOLE
from experiments.harness.records import Case
from tests.conftest import SMALL

NAMES = ("unrolled", "learn2learn", "adjoint", "fomaml", "reptile")
TASKS = (10, 2)  # on 3 ranks 4, 3 and 3; and 1, 1 and none
TRAINING = {"outer_lr": 1e-2, "iterations": 12, "evaluations": 4, "heldout_tasks": 5}


def bench(name: str, tasks: int, dtype: str = "float64", checkpoint: Path | None = None) -> Bench:
    case = Case("training", "small", SMALL.extended(**TRAINING, tasks=tasks), "cpu", dtype, 0, 1)
    share = sharded.Rank() if dist.is_initialized() else WHOLE
    return Bench(case, name, None, None, checkpoint=checkpoint, share=share)


def meta_gradient(name: str, tasks: int) -> dict[str, Any]:
    """In float64, with the sizes of all-reduces."""
    b, reduce, sizes = bench(name, tasks), dist.all_reduce, []

    def counted(values: torch.Tensor) -> None:
        sizes.append(values.numel())
        reduce(values)

    dist.all_reduce = counted
    losses, grads = b.setup.meta_gradient(b.batch(0))
    dist.all_reduce = reduce
    return {"losses": losses, "grads": grads, "sizes": sizes}


def curve() -> list[torch.Tensor]:
    """The losses of the first iterations of a training."""
    b = bench("unrolled", 10)
    losses = list(outer_loop(b.setup, 1e-2, b.batches(20)))
    b.share.check_weights(b.setup.spec.model)
    return losses


def trained(dtype: str, checkpoint: Path | None, turns: int = 99) -> tuple[Result, str] | None:
    """What a training run found, and the digest of its tasks; None where it was interrupted after so many turns."""
    b = bench("unrolled", 4, dtype, checkpoint)
    work = training.measure(b)
    for _ in range(turns):
        try:
            next(work)
        except StopIteration as finished:
            return finished.value, b.stream_digest
    return None


def resumed(checkpoint: Path, dtype: str) -> bool:
    """Whether a training that was interrupted twice found what an undisturbed one does, bit for bit."""
    whole = trained(dtype, None)
    for _ in range(2):
        assert trained(dtype, checkpoint, 2) is None
    again = trained(dtype, checkpoint)
    assert whole and again and again[0].row.pop("resumed_at") == "3, 6" and whole[0].row.pop("resumed_at") == ""
    return whole == again


def everything() -> dict[str, Any]:
    """By implementation and number of tasks; and the curve."""
    found: dict[str, Any] = {f"{name} {tasks}": meta_gradient(name, tasks) for name in NAMES for tasks in TASKS}
    return found | {"curve": curve()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    for ranks in (3, 2):
        if rank < ranks:
            os.environ["WORLD_SIZE"] = str(ranks)
            sharded.join(f"{ranks} ranks", "cpu")
            torch.save(everything(), folder / f"{ranks}-{rank}.pt")
            if ranks == 2:
                # the others' folder does not exist: only rank 0 reads and writes
                assert resumed((folder if rank == 0 else folder / "not" / "there") / "training.pt", "float32")
            dist.destroy_process_group()
