"""Compare the state that a call must not change: model and batch, bit by bit, and settings that a process shares.

An implementation that changed such a setting would change it for the others; one that replaced a clock, for us.
"""

import gc
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines._shared.random_state import RandomState
from baselines.contract import TaskBatch

Facts = dict[str, object]
"""Values to compare with ==, by what a message calls them."""
SHOWN = 2  # the number of changes that a message names


class Snapshot:
    """The state of a model, of a batch and of this process at one moment."""

    def __init__(self, model: nn.Module, batch: TaskBatch | None = None) -> None:
        self.model, self.batch = model, batch
        self.facts = of_model(model) | of_batch(batch) | of_process()
        self.random = RandomState(next((p.device for p in model.parameters()), torch.device("cpu")))

    def changes(self, random: bool = False) -> list[str]:
        """Name what has changed since; `random`: also the random generators, if numbers were drawn."""
        now = Snapshot(self.model, self.batch)
        changed = differing(self.facts, now.facts)
        return changed + ["the state of a random generator"] * (random and not self.random.same(now.random))


def in_words(changed: list[str]) -> str:
    """Describe in one clause what a call changed."""
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"the call changed {', '.join(changed[:SHOWN])}{more}"


def differing(before: Facts, after: Facts) -> list[str]:
    """Name the facts that only one side has, or that are not equal."""
    both = [name for name in before if name in after and before[name] == after[name]]
    return [name for name in before | after if name not in both]


def of_model(model: nn.Module) -> Facts:
    """Return the facts of a model: parameters, gradients and buffers bit by bit, modes and numbers of hooks."""
    facts: Facts = {}
    for name, p in model.named_parameters():
        facts |= {name: bits(p), f"the tensor of {name}": id(p), f"{name}.requires_grad": p.requires_grad}
        facts[f"{name}.grad"] = None if p.grad is None else bits(p.grad)
    facts |= {name: bits(b) for name, b in model.named_buffers()}
    for name, module in model.named_modules():
        facts[f"the mode of {name or 'it'}"] = module.training
        facts[f"the hooks of {name or 'it'}"] = sum(len(v) for k, v in vars(module).items() if k.endswith("_hooks"))
    return facts


def of_batch(batch: TaskBatch | None) -> Facts:
    """Return the facts of a batch: its points, bit by bit."""
    return {} if batch is None else {f"{name} of its batch": bits(part) for name, part in batch._asdict().items()}


def of_process() -> Facts:
    """Return the facts of this process: the settings that all of its code shares."""
    return {
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.empty(0).device,
        "the gradient mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": autocast(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of float32 products": (
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
        ),
        "whether subnormal numbers count": float(torch.full((1,), 1e-40) * 1.0) != 0.0,
        "how NumPy treats floating-point errors": tuple(sorted(np.geterr().items())),
        "the number of threads": torch.get_num_threads(),
        "the processors that it may use": affinities(),
        "the garbage collector": (gc.isenabled(), gc.get_threshold()),
        "the clocks": (time.perf_counter, time.process_time, time.monotonic, time.time),
    }


def bits(tensor: Tensor) -> tuple[Any, ...]:
    """Return dtype, shape and bytes of a tensor, so that -0.0 is not 0.0 and a NaN equals itself."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def autocast() -> tuple[bool, ...]:
    """Tell, for the CPU and for CUDA, whether autocast is on."""
    try:
        return torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
    except TypeError:  # before PyTorch 2.4
        return torch.is_autocast_cpu_enabled(), torch.is_autocast_enabled()


def affinities() -> tuple[tuple[int, ...], ...]:
    """Return the sets of processors that threads of this process are bound to, each once; empty where unsupported."""
    if not hasattr(os, "sched_getaffinity") or not Path("/proc/self/task").exists():
        return ()
    return tuple(sorted({tuple(sorted(cores)) for cores in _of_threads()}))


def _of_threads() -> Iterable[set[int]]:
    for thread in os.listdir("/proc/self/task"):
        try:
            yield os.sched_getaffinity(int(thread))
        except ProcessLookupError:  # it has ended
            continue
