"""Faults of a measuring process: each is one row with its status and reason, beside the others, and nothing stays."""

import json
import time
from pathlib import Path

import psutil

from tests.faults import Outcome
from tests.faults.runs import IMPLEMENTATIONS, Undisturbed, cells, compare, finish

HEAD = """
from baselines.handwritten.unrolled import Unrolled

class Mine(Unrolled):
    def meta_gradient(self, batch):
        {}
        return super().meta_gradient(batch)
"""
TIMEOUT_S = 30
MEMORY_GIB = 2.0
MARK = 91_234.5
BODIES = {  # what the process does, the status of its row, and what its reason says
    "is killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "killed by SIGKILL"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "failed", "killed by SIGSEGV"),
    "hangs": ("import time; time.sleep(10**6)", "timeout", "within the time limit"),
    "takes all memory": (
        "import torch; kept = []\n        while True: kept.append(torch.ones(2**24))",
        "oom",
        "more than the 2.0 GiB allowed",
    ),
    "runs out of GPU memory": (
        "import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 80 GiB')",
        "oom",
        "CUDA out of memory",
    ),
    "prints rubbish and ends": ("import os; os.write(1, b'\\xff\\0{]' * 10**6); os._exit(3)", "failed", "exit code 3"),
    "leaves grandchildren": (f"import subprocess; subprocess.Popen(['sleep', '{MARK}'])", "ok", ""),
    "diverges": (
        "result = super().meta_gradient(batch)\n"
        "        self.calls = getattr(self, 'calls', 0) + 1\n"
        "        if self.calls > 9: return result._replace(task_losses=result.task_losses * float('nan'))",
        "diverged",
        "not finite at iteration",
    ),
}


def children(undisturbed: Undisturbed, folder: Path, times: int) -> dict[str, Outcome]:
    """All at once, each in the training of an implementation of its own: an outcome for each."""
    files = {name: folder / f"{name.replace(' ', '-')}.py" for name in BODIES}
    for name, file in files.items():
        file.write_text(HEAD.format(BODIES[name][0]))
    found = {name: Outcome(0, 0) for name in BODIES}
    for attempt in range(times):
        results = folder / str(attempt)
        listed = ["--implementations", ",".join([*IMPLEMENTATIONS, *map(str, files.values())])]  # the last one counts
        limits = ["--timeout", str(TIMEOUT_S), "--memory", str(MEMORY_GIB)]
        code, said = finish(undisturbed.command(results, *listed, *limits))
        mine = {place: cell for place, cell in cells(results).items() if cell["implementation"] not in _stems(files)}
        lost, wrong = compare(_untimed(undisturbed.cells), _untimed(mine))
        clean = code == 0 and "Traceback" not in said and not _left()
        for name, (_, status, reason) in BODIES.items():
            rows = [c for c in _all(results) if c["implementation"] == files[name].stem]
            as_it_should = rows and all(c["status"] == status and reason in c["reason"] for c in rows)
            before = found[name]
            found[name] = Outcome(
                before.tried + 1, before.survived + bool(clean and as_it_should), before.lost + lost,
                before.wrong + wrong, "; ".join(sorted({c["reason"] for c in rows})),
            )  # fmt: skip
    return found


def _stems(files: dict[str, Path]) -> set[str]:
    return {file.stem for file in files.values()}


def _all(results: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in (results / "cells").glob("*/*/*.json")]


def _untimed(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Without the limits that a cell was measured under, which were others."""
    limits = ("timeout_s", "memory_gib")
    return {place: {name: cell[name] for name in cell if name not in limits} for place, cell in found.items()}


def _left() -> list[psutil.Process]:
    """What was started and still runs."""
    time.sleep(0.5)
    return [p for p in psutil.process_iter(["cmdline"]) if str(MARK) in (p.info["cmdline"] or [])]
