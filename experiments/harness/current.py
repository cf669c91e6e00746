"""Whether a cell that is there would come out the same today, as far as anyone can tell without measuring."""

from dataclasses import dataclass

from experiments.harness.case import Json
from experiments.harness.sources import Sources

STEADY = 1.05
"""Free memory of a GPU that is larger by less is the same: it is not free to the byte from one run to the next."""


@dataclass(frozen=True)
class Allowed:
    """What a measuring process may use; None: nothing is known to limit it, or there is none."""

    timeout_s: float
    memory_gib: float | None
    gpu_memory_gib: float | None

    def exceeds(self, cell: dict[str, Json]) -> bool:
        """Whether it is more than was allowed when this cell ran out of it."""
        if cell["status"] == "timeout":
            return self.timeout_s > float(cell["timeout_s"])
        if cell["status"] == "oom":
            now, then = self.memory_gib, cell.get("memory_gib", 0.0)  # of an old cell it is not known
            more = then is not None and (now is None or now > then)
            free = cell.get("gpu_memory_gib")
            return more or bool(free and self.gpu_memory_gib and self.gpu_memory_gib > STEADY * free)
        return False


def current(cell: dict[str, Json], sources: Sources, about: dict[str, Json], allowed: Allowed) -> bool:
    """Whether it would; `about`: what a machine has said of the implementation."""
    version, lacking = about.get("version", ""), about.get("lacking", "")
    return (
        not cell["reference_only"]
        and sources.unchanged(cell)
        and version in ("", cell["library_version"])  # one that no longer imports was measured when it did
        and not (cell.get("lacking") and not lacking)
        and not allowed.exceeds(cell)
    )
