"""Where a measurement was taken: versions, processor, device. Nothing that names the machine or its user."""

import gc
import importlib.metadata
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from experiments.harness.records import Environment

CLOCKS = (time.perf_counter, time.process_time, time.monotonic, time.time)
"""As they were before any implementation was loaded."""


def environment(device: str) -> Environment:
    """Return the environment of what this process measures on `device`."""
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        device_model=torch.cuda.get_device_name() if device == "cuda" else cpu_model(),
        cpu_model=cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        platform=f"{platform.system()} {platform.machine()}",
        cuda=torch.version.cuda or "",
    )


def installed(distribution: str | None) -> str:
    """Return the version of an installed distribution, or nothing."""
    try:
        return importlib.metadata.version(distribution) if distribution else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def settle(threads: int) -> None:
    """Set what every implementation gets: threads as asked for, full float32 precision.

    What an implementation may have changed for all that come after it in this process is put right, too.
    """
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)
    torch.autograd.set_detect_anomaly(False)
    for device in ("cpu", "cuda"):
        autocast(device, False)
    gc.enable()


def autocast(device: str, enabled: bool) -> None:
    """Switch it on or off for good; before PyTorch 2.4 each device has a function of its own."""
    try:
        torch.set_autocast_enabled(device, enabled)
    except TypeError:
        (torch.set_autocast_cpu_enabled if device == "cpu" else torch.set_autocast_enabled)(enabled)


def unsettled(threads: int) -> str:
    """Tell which of these settings an implementation has changed; empty if none."""
    if torch.get_num_threads() != threads:
        return f"it changed the number of threads to {torch.get_num_threads()}"
    if torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32:
        return "it lowered the precision of float32 products"
    if torch.get_default_dtype() != torch.float32 or not torch.is_grad_enabled():
        return "it changed the default dtype or the gradient mode"
    if (time.perf_counter, time.process_time, time.monotonic, time.time) != CLOCKS:
        return "it put another clock in the place of the system's"
    return ""
