"""Memory of one call: the level with model and batch resident, then the peak."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from experiments.harness.case import Json

MIB = 2.0**20
NO_CUDA = "no CUDA device in this run"


def peaks(
    call: Callable[[], object], resident_bytes: int, device: torch.device, framework: str = "torch"
) -> tuple[dict[str, Json], dict[str, str]]:
    """The columns of one call's memory in MiB, and for the columns that stay empty, why.

    The first call counts towards resident memory (its code and workspaces are part of the price); the tensors' peak
    is taken from a second one, under PyTorch's profiler, which sees the tensors of no other `framework`.
    """
    row: dict[str, Json] = {}
    empty: dict[str, str] = {}
    seen = device.type == "cuda" and framework == "torch"
    if seen:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        row["resident_gpu_mib"] = torch.cuda.memory_allocated(device) / MIB
    before = _resident_set(reset_peak=True)
    call()
    after = _resident_set(reset_peak=False)
    if seen:
        torch.cuda.synchronize(device)
        row["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / MIB
        row["peak_gpu_reserved_mib"] = torch.cuda.max_memory_reserved(device) / MIB
    else:
        unseen = f"PyTorch's allocator does not see the arrays of {framework}"
        reason = unseen if device.type == "cuda" else NO_CUDA
        empty |= dict.fromkeys(("resident_gpu_mib", "peak_gpu_mib", "peak_gpu_reserved_mib"), reason)
    if before is None or after is None:
        empty |= dict.fromkeys(("resident_rss_mib", "peak_rss_mib"), "the system does not tell a process' peak")
    else:
        row |= {"resident_rss_mib": before["VmRSS"] / 1024, "peak_rss_mib": after["VmHWM"] / 1024}
    if framework == "torch":
        row["peak_tensor_mib"] = (resident_bytes + _tensor_peak(call, device)) / MIB
    else:
        empty["peak_tensor_mib"] = f"PyTorch's profiler does not see the arrays of {framework}"
    return row, empty


def _tensor_peak(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors made during the call held at one time, from the allocator's events."""
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


def _resident_set(reset_peak: bool) -> dict[str, int] | None:
    """VmRSS and VmHWM of this process in KiB (Linux); None elsewhere, or where the peak cannot be reset."""
    try:
        if reset_peak:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines) if key in FIELDS}


FIELDS = ("VmRSS", "VmHWM")
