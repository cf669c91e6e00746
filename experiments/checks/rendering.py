"""How long do the tables and plots of a very large store take, and how much memory?

A small real store is measured first, `metagradient`, `training` and `cost` in the quick profile, without what compiles.
Its cells are written again and again under other seeds and in other cases, until there are 100,000 in the full profile.
`maml-bench render`, which may take 30 s and 2 GiB, and `maml-bench report` of that store then run alone, one after the
other; no figure out of it is kept. Run on request: `make load`.
"""

import hashlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import baselines
from experiments.harness.case import Case, Json, Options, digest, sha256
from experiments.harness.experiment import Experiment, Pass, Result
from experiments.harness.measure import memory
from experiments.harness.measure.bench import Bench
from experiments.harness.processes import isolate
from experiments.harness.status import ROOT, scrub
from experiments.harness.store import seal

CELLS = {"quick": 2_000, "full": 100_000}
SEEDS = {"metagradient": 25, "training": 25, "cost": 3}
"""The experiments, and how many seeds a case of theirs has in the large store; after these comes another case."""
MOST_S, MOST_MIB = 30.0, 2048.0  # of `render`
POLL_S = 0.1  # looking through the pages of a gibibyte takes some milliseconds


def cases(options: Options) -> list[Case]:
    """One store, and the programs that render it: when they have changed, it is measured again."""
    programs = [file for folder in ("analysis", "experiments/cli") for file in sorted((ROOT / folder).rglob("*.py"))]
    params: dict[str, Json] = {"cells": CELLS[options.profile], "programs": digest([sha256(file) for file in programs])}
    return [Case("rendering", f"store-{params['cells']}", params, "cpu", "float32", 0, options.threads)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Measure the small store, enlarge it, render it."""
    yield 0.0
    cells: int = bench.params["cells"]
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        names = ",".join(uncompiled())
        run("run", *SEEDS, "--implementations", names, "--seeds", "0", "--device", "cpu", "--results", small)
        yield 0.5
        size = enlarge(small, large, cells)
        shutil.copy(small / "cells" / "sources.json", large / "cells")
        yield 0.7
        rows = []
        for command in ("render", "report"):
            found = run(command, "--results", large)
            if command == "render":
                found["limits"] = judged(found["wall_s"], found["peak_memory_mib"])
            rows.append({"command": command, "cells": cells, "store_mib": size / memory.MIB, **found})
            yield 0.7 + 0.1 * len(rows)
    return Result(rows=rows)


def uncompiled() -> list[str]:
    """Name the implementations that are there and do not compile, which would take most of the time."""
    about = isolate.describe("cpu", {name: str(file) for name, file in baselines.names().items()})["implementations"]
    return [name for name, known in about.items() if not (known["compiles"] or known["lacking"])]


def judged(wall_s: float, peak_memory_mib: float) -> str:
    """Whether `render` kept within both of its limits."""
    return "kept" if wall_s <= MOST_S and peak_memory_mib <= MOST_MIB else "broken"


def run(*arguments: object) -> dict[str, Json]:
    """Call `maml-bench` in a process of its own: what it took.

    Raises RuntimeError, with its last line, if it fails, or with that of a cell that it left out.
    """
    usual = {name: value for name, value in os.environ.items() if name not in isolate.HEAP_SETTINGS}
    command = [sys.executable, "-P", "-m", "experiments", *map(str, arguments)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=usual, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, held_mib(process.pid))
            time.sleep(POLL_S)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        bad = lines[-1:] if process.returncode else [line for line in lines if "left out" in line][:1]
        if process.returncode or bad:
            raise RuntimeError(f"maml-bench {arguments[0]}: {scrub(''.join(bad)) or 'no message'}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "peak_memory_mib": peak}


def held_mib(pid: int) -> float:
    """Memory of a process and of those that it has started, pages that they share counted once; its own peak at least.

    0 where it has ended.
    """
    alone = (memory.resident_set(pid) or {"VmHWM": 0})["VmHWM"] / 1024
    family = memory.family(pid)
    together = sum(map(memory.proportional_set, family)) if len(family) > 1 else 0
    return max(alone, together / memory.MIB)


def enlarge(small: Path, large: Path, cells: int) -> int:
    """Write a store of `cells` copies of those in `small`, under other seeds and in other cases; its size in bytes.

    Each experiment of SEEDS has an equal share. Only names, seeds, digests and round groups are changed.
    """
    shutil.copytree(small / "cells" / "environments", large / "cells" / "environments")
    size = 0
    for position, (name, seeds) in enumerate(SEEDS.items()):
        share = cells * (position + 1) // len(SEEDS) - cells * position // len(SEEDS)
        source, folder = small / "cells" / name, large / "cells" / name
        folder.mkdir()
        originals = [json.loads(file.read_text()) for file in sorted(source.glob("*/*.json"))]
        for cell in itertools.islice(copies(originals, seeds), share):
            case = folder / Case(**cell["case"]).id
            case.mkdir(exist_ok=True)
            file = ".".join(filter(None, [cell["implementation"], "copy", cell["round_group"], "json"]))
            size += (case / file).write_text(seal(cell))
    return size


def copies(originals: list[dict[str, Json]], seeds: int) -> Iterator[dict[str, Json]]:
    """Without end: all cells under one seed after the other, then in a case of another name."""
    for number in itertools.count():
        copy, seed = divmod(number, seeds)
        for cell in originals:
            name = f"{cell['case']['name']}-copy{copy}" if copy else cell["case"]["name"]
            changed = {"case": cell["case"] | {"name": name, "seed": seed}}
            for draws in ("stream_digest", "init_digest"):
                changed[draws] = hashlib.sha256(f"{cell[draws]} {number}".encode()).hexdigest()
            if cell["round_group"]:
                changed["round_group"] = f"{cell['round_group']}{number}"
            yield cell | changed


EXPERIMENT = Experiment(
    cases=cases,
    passes=(Pass("render", measure),),
    subjects=("maml-bench",),
    by_default=False,
)
