"""No empty time: what breaks a term of the contract is wrong, by `regress` and by `cost`, and for the right reason."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from experiments import cost
from experiments.checks import regress
from experiments.harness.measure import environment
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Options
from experiments.harness.status import Wrong
from experiments.judging.golden import files
from tests.harness.runs import MakePlan, cells

CHEATS = sorted(file for file in (Path(__file__).parents[1] / "cheats").glob("*.py") if file.stem != "__init__")
GOLDEN = "tanh2-k3"


def reason(file: Path) -> str:
    """What the brackets in its first line hold."""
    return file.read_text().split("[")[1].split("]")[0]


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What cheats change for the whole process is put right, and what they started is ended."""
    for clock in ("perf_counter", "process_time", "monotonic", "time"):
        monkeypatch.setattr(time, clock, getattr(time, clock))
    numpy = np.geterr()
    yield
    environment.settle(1)
    np.seterr(**numpy)
    for process in psutil.Process().children():
        if "sum(range" in " ".join(process.cmdline()):
            process.kill()
            process.wait()


def test_there_are_at_least_twenty_and_each_says_what_it_breaks() -> None:
    assert len(CHEATS) >= 20
    assert all(reason(file) for file in CHEATS)


@pytest.mark.parametrize(
    "file",
    [pytest.param(f, marks=[pytest.mark.slow] * (f.stem == "helper_process")) for f in CHEATS],  # it is waited for
    ids=lambda file: file.stem,
)
def test_regress_catches_every_cheat(file: Path, restored: None) -> None:
    cases = regress.cases(Options("quick", "cpu", None, 1, None))
    (case,) = (c for c in cases if (c.name, c.dtype) == (GOLDEN, "float64"))
    bench = Bench(case, file.stem, file, None)
    golden = files.read(GOLDEN)
    with pytest.raises(Wrong) as caught:
        regress.conform(bench, golden, regress.judge(bench, golden))
    assert reason(file) in str(caught.value)


def test_memory_left_behind_shows_though_the_heap_has_room(restored: None) -> None:
    """A process that has freed much takes little from the system for a while."""
    filled = bytes(31_000_000)  # freed, it has the allocator keep blocks of this size within the heap
    del filled
    blocks = [bytes([1]) * 500_000 for _ in range(300)]
    top = bytes([1]) * 500_000  # keeps what is below it from going back by itself
    del blocks
    (leaking,) = (file for file in CHEATS if file.stem == "leaks_memory")
    test_regress_catches_every_cheat(leaking, restored)
    assert top


@pytest.mark.slow
def test_cost_catches_every_cheat_and_accuses_nobody_else(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cost.SIZES, "quick", ((4, 2, 5, 20),))
    run = plan("cost", implementations=["learn2learn", "unrolled", "vectorized", "jax", *CHEATS])
    run.run()
    measured = {cell["implementation"]: cell for cell in cells(run, "cost")}
    honest = {name: cell["reason"] for name, cell in measured.items() if cell["status"] == "ok"}
    assert set(honest) == {"learn2learn", "unrolled", "vectorized", "jax"}
    for file in CHEATS:
        cell = measured[file.stem.replace("_", "-")]
        assert (cell["status"], cell["samples"]) == ("wrong", {}), file.stem
        assert reason(file) in cell["reason"], (file.stem, cell["reason"])
    everything = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in everything if "sum(range(100_000))" in command]
