"""Whether a cell that is there would come out the same today, as far as anyone can tell without measuring."""

from dataclasses import dataclass

from experiments.harness.records import Status, StoredCell
from experiments.harness.records.messages import Implementation
from experiments.harness.sources import Sources

STEADY = 1.05
"""Free memory of a GPU that is larger by less is the same: it is not free to the byte from one run to the next."""


@dataclass(frozen=True)
class Allowed:
    """What a measuring process may use; None: nothing is known to limit it, or there is none."""

    timeout_s: float
    memory_gib: float | None
    gpu_memory_gib: float | None

    def exceeds(self, cell: StoredCell) -> bool:
        """Whether it is more than was allowed when this cell ran out of it."""
        if cell.status == Status.TIMEOUT:
            return cell.timeout_s is not None and self.timeout_s > cell.timeout_s
        if cell.status == Status.OOM:
            now, then = self.memory_gib, cell.memory_gib
            more = then is not None and (now is None or now > then)
            free = cell.gpu_memory_gib
            return more or bool(free and self.gpu_memory_gib and self.gpu_memory_gib > STEADY * free)
        return False


def current(cell: StoredCell, sources: Sources, known: Implementation, allowed: Allowed) -> bool:
    """Whether it would; `known`: what a machine has said of the implementation."""
    return (
        not cell.reference_only
        and sources.unchanged(cell)
        and known.version in ("", cell.library_version)  # one that no longer imports was measured when it did
        and not (cell.lacking and not known.lacking)
        and not allowed.exceeds(cell)
    )
