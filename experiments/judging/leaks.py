"""Check that calls of an implementation do not leave more and more memory in use."""

from experiments.harness.measure.clock import perf_counter
from experiments.harness.measure.memory import MIB, give_free_memory_back, live_tensor_bytes, resident_set
from experiments.judging.examined import Examined

CALLS, SECONDS = 25, 5.0
"""The length of each of two series of calls: whichever is reached first."""
WARMING = 5  # calls before them
RESIDENT_MIB = 4.0
"""How much resident memory may grow in each series: heaps grow in steps, and first use makes pages resident."""


def steady(examined: Examined) -> str:
    """Check that memory does not grow over 50 calls or ten seconds; return by how much it does."""
    for _ in range(WARMING):
        examined.ring.whole_call_s()
    levels = [_levels(examined)]
    counts = []
    for _ in range(2):
        counts.append(_calls(examined))
        levels.append(_levels(examined))
    tensors, resident = zip(*levels, strict=True)
    if tensors[0] < tensors[1] < tensors[2]:
        return f"every call leaves {(tensors[2] - tensors[1]) / counts[1] / 1024:.3g} KiB of tensors behind"
    if min(resident[1] - resident[0], resident[2] - resident[1]) > RESIDENT_MIB:
        return f"{sum(counts)} calls leave {resident[2] - resident[0]:.0f} MiB of memory behind"
    return ""


def _calls(examined: Examined) -> int:
    start, calls = perf_counter(), 0
    while calls < CALLS and (perf_counter() - start < SECONDS or not calls):
        examined.ring.whole_call_s()
        calls += 1
    return calls


def _levels(examined: Examined) -> tuple[int, float]:
    """Return the bytes of live tensors, and the MiB of resident memory."""
    tensors = live_tensor_bytes(examined.setup.spec.device)
    if examined.setup.baseline.framework == "jax":
        import jax

        tensors += sum(array.nbytes for array in jax.live_arrays())
    give_free_memory_back()  # else what is left behind may take room that was free within the heap
    resident = resident_set()
    return tensors, (resident["VmRSS"] * 1024 / MIB if resident else 0.0)
