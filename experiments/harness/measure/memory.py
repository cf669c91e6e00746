"""Memory of one call: the level with model and batch resident, then the peak; and what is alive between calls."""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from baselines.contract import undisturbed
from experiments.harness.records import Row

MIB = 2.0**20
NO_CUDA = "no CUDA device in this run"


@undisturbed()
def peaks(
    call: Callable[[], object], resident_bytes: int, device: torch.device, framework: str = "torch"
) -> tuple[Row, dict[str, str]]:
    """Measure the memory of one call: its columns in MiB, and for the columns that stay empty, why.

    The first call counts towards resident memory (its code and workspaces are part of the price); the tensors' peak
    is taken from a second one, under PyTorch's profiler, which sees the tensors of no other `framework`.
    """
    row: Row = {}
    empty: dict[str, str] = {}
    seen = device.type == "cuda" and framework == "torch"
    if seen:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        row["resident_gpu_mib"] = torch.cuda.memory_allocated(device) / MIB
    reset = _reset_peak()
    before = resident_set()
    call()
    after = resident_set()
    if seen:
        torch.cuda.synchronize(device)
        row["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / MIB
        row["peak_gpu_reserved_mib"] = torch.cuda.max_memory_reserved(device) / MIB
    else:
        unseen = f"PyTorch's allocator does not see the arrays of {framework}"
        reason = unseen if device.type == "cuda" else NO_CUDA
        empty |= dict.fromkeys(("resident_gpu_mib", "peak_gpu_mib", "peak_gpu_reserved_mib"), reason)
    if not reset or before is None or after is None:
        empty |= dict.fromkeys(("resident_rss_mib", "peak_rss_mib"), "the system does not tell a process' peak")
    else:
        row |= {"resident_rss_mib": before["VmRSS"] / 1024, "peak_rss_mib": after["VmHWM"] / 1024}
    if framework == "torch":
        row["peak_tensor_mib"] = (resident_bytes + _tensor_peak(call, device)) / MIB
    else:
        empty["peak_tensor_mib"] = f"PyTorch's profiler does not see the arrays of {framework}"
    return row, empty


def _tensor_peak(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors made in the call held at one time, from the allocator's events."""
    activities = {ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])}
    with profile(activities=activities, profile_memory=True) as record:
        result = call()
    del result
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    level = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        if (str(event.device_type()).rpartition(".")[2] == "CUDA") == (device.type == "cuda"):
            level += event.nbytes()
            peak = max(peak, level)
    return peak


def _reset_peak() -> bool:
    """Let VmHWM of this process begin anew; whether the system does that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def give_free_memory_back() -> None:
    """Give memory that is free within the heap back to the system, so that what is resident is in use (glibc only)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_set(process: int | str = "self") -> dict[str, int] | None:
    """Return VmRSS and VmHWM, its peak, of a process in KiB (Linux); None elsewhere, or where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    found = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines) if key in FIELDS}
    return found or None


def family(pid: int) -> list[int]:
    """Return a process and all that its threads started (Linux); itself alone if it is gone, or elsewhere."""
    started: list[str] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread, or the process, has ended
            started += file.read_text().split()
    return [pid, *(member for child in started for member in family(int(child)))]


def proportional_set(pid: int) -> int:
    """Return the bytes of a process, with its part of each page that it shares (Linux); 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def live_tensor_bytes(device: torch.device) -> int:
    """Return the exact bytes of all tensors that are alive on `device`, after a collection of garbage.

    On CUDA what PyTorch's allocator has given out; on a CPU the storages, each once, of the tensors that Python's
    collector knows. Of those that live in C++ alone, in a graph that leaks, only resident memory tells.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return int(torch.cuda.memory_allocated(device))
    storages: dict[int, int] = {}
    for each in gc.get_objects():
        if type(each) in (torch.Tensor, torch.nn.Parameter) and each.device == device:
            with suppress(RuntimeError, NotImplementedError):  # one that stands for another, and has none of its own
                storage = each.untyped_storage()
                storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


FIELDS = ("VmRSS", "VmHWM")
