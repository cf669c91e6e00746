"""Whether torchrun started this process as one of several ranks; to ask imports no PyTorch."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.harness.executor import Executor


def ranks() -> AbstractContextManager["Executor | None"]:
    """Return all ranks, for rank 0; None without others. Any other rank serves rank 0, and then its process ends."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return nullcontext()
    from experiments.harness.distributed.ranks import gathered

    return gathered()
