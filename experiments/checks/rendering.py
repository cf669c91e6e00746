"""How long do the tables and plots of a very large store take, and how much memory?

A small real store is measured first: `metagradient`, `training` and `cost` in the quick profile, by the implementations
that do not compile. Copies of its cells under other seeds and in other cases make a store of 100,000 cells in the full
profile. `maml-bench render`, which may take 30 s and 2 GiB, and `maml-bench report` of that store then run alone, one
after the other; their output is deleted. Run on request: `make load`.
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
from dataclasses import replace
from pathlib import Path

import baselines
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure import memory
from experiments.harness.measure.bench import Bench
from experiments.harness.processes import isolate
from experiments.harness.records import Case, Options, Parameters, Result, Row, StoredCell
from experiments.harness.records.cells import parse_cell, seal
from experiments.harness.records.files import sha256
from experiments.harness.records.serial import digest
from experiments.harness.status import ROOT, scrub

CELLS = {"quick": 2_000, "full": 100_000}
SEEDS = {"metagradient": 25, "training": 25, "cost": 3}
"""The experiments of the large store, and how many seeds each of their cases has there before the next case begins."""
MOST_S, MOST_MIB = 30.0, 2048.0  # of `render`
POLL_S = 0.1  # the interval between readings of memory; one takes some milliseconds for a process of 1 GiB


def cases(options: Options) -> list[Case]:
    """Return one case; the digest of the programs that render is a parameter, so changed programs make a new case."""
    programs = [file for folder in ("analysis", "experiments/cli") for file in sorted((ROOT / folder).rglob("*.py"))]
    params = Parameters(cells=CELLS[options.profile], programs=digest([sha256(file) for file in programs]))
    return [Case("rendering", f"store-{params['cells']}", params, "cpu", "float32", 0, options.threads)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Measure the small store, enlarge it, and measure how long rendering takes and how much memory."""
    yield 0.0
    cells: int = bench.params.integer("cells")
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small"), Path(folder, "large")
        names = ",".join(uncompiled())
        run("run", *SEEDS, "--implementations", names, "--seeds", "0", "--device", "cpu", "--results", small)
        yield 0.5
        size = enlarge(small, large, cells)
        shutil.copy(small / "cells" / "sources.json", large / "cells")
        yield 0.7
        rows: list[Row] = []
        for command in ("render", "report"):
            usage = run(command, "--results", large)
            row: Row = {"command": command, "cells": cells, "store_mib": size / memory.MIB, **usage}
            if command == "render":
                row["limits"] = judged(usage["wall_s"], usage["peak_memory_mib"])
            rows.append(row)
            yield 0.7 + 0.1 * len(rows)
    return Result(rows=rows)


def uncompiled() -> list[str]:
    """Name the implementations that are there and do not compile, which would take most of the time."""
    about = isolate.describe("cpu", {name: str(file) for name, file in baselines.names().items()}).implementations
    return [name for name, known in about.items() if not (known.compiles or known.lacking)]


def judged(wall_s: float, peak_memory_mib: float) -> str:
    """Return "kept" where `render` kept both of its limits, else "broken"."""
    return "kept" if wall_s <= MOST_S and peak_memory_mib <= MOST_MIB else "broken"


def run(*arguments: object) -> dict[str, float]:
    """Run `maml-bench` in a process of its own; return its wall time, processor time and peak memory.

    Raises RuntimeError with its last line where it fails, or with the line about a cell that it left out.
    """
    environment = {name: value for name, value in os.environ.items() if name not in isolate.HEAP_SETTINGS}
    command = [sys.executable, "-P", "-m", "experiments", *map(str, arguments)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, held_mib(process.pid))
            time.sleep(POLL_S)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
        bad = lines[-1:] if process.returncode else [line for line in lines if "left out" in line][:1]
        if process.returncode or bad:
            raise RuntimeError(f"maml-bench {arguments[0]}: {scrub(''.join(bad)) or 'no message'}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "peak_memory_mib": peak}


def held_mib(pid: int) -> float:
    """Return the MiB held by a process and its descendants, shared pages counted once; at least its own peak.

    0 where it has ended.
    """
    peak = (memory.resident_set(pid) or {"VmHWM": 0})["VmHWM"] / 1024
    family = memory.family(pid)
    total = sum(map(memory.proportional_set, family)) if len(family) > 1 else 0
    return max(peak, total / memory.MIB)


def enlarge(small: Path, large: Path, cells: int) -> int:
    """Write a store of `cells` copies of those in `small`, under other seeds and in other cases; return its bytes.

    Each experiment of SEEDS has an equal share. Only names, seeds, digests and round groups are changed.
    """
    shutil.copytree(small / "cells" / "environments", large / "cells" / "environments")
    size = 0
    for position, (name, seeds) in enumerate(SEEDS.items()):
        share = cells * (position + 1) // len(SEEDS) - cells * position // len(SEEDS)
        source, folder = small / "cells" / name, large / "cells" / name
        folder.mkdir()
        originals = [parse_cell(json.loads(file.read_text())) for file in sorted(source.glob("*/*.json"))]
        for cell in itertools.islice(copies(originals, seeds), share):
            case = folder / cell.case.folder
            case.mkdir(exist_ok=True)
            file = ".".join(filter(None, [cell.implementation, "copy", cell.round_group, "json"]))
            size += (case / file).write_text(seal(cell))
    return size


def copies(originals: list[StoredCell], seeds: int) -> Iterator[StoredCell]:
    """Yield copies without end: all cells under one seed after the other, then in a case of another name."""
    for number in itertools.count():
        copy, seed = divmod(number, seeds)
        for cell in originals:
            name = f"{cell.case.name}-copy{copy}" if copy else cell.case.name
            yield replace(
                cell,
                case=replace(cell.case, name=name, seed=seed),
                stream_digest=hashlib.sha256(f"{cell.stream_digest} {number}".encode()).hexdigest(),
                init_digest=hashlib.sha256(f"{cell.init_digest} {number}".encode()).hexdigest(),
                round_group=f"{cell.round_group}{number}" if cell.round_group else None,
            )


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("render", measure),),
    compared=("maml-bench",),
    by_default=False,
)
