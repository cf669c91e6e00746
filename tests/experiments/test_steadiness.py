"""Memory of a long training run: what is alive is counted exactly, and a leak is told."""

import csv
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from analysis.checks import limits
from experiments.checks import steadiness
from experiments.harness.experiment import Result
from experiments.harness.measure import memory
from tests.conftest import Call, bench

LEAKING = '''
"""Unrolled MAML that keeps a tensor of every call after the first 150: the check of the contract makes fewer."""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch

KEPT = []


class Leaking(Unrolled):
    """Keeps every task's losses."""

    calls = 0

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """As its base class does."""
        result = super().meta_gradient(prepared)
        self.calls += 1
        if self.calls > 150:
            KEPT.append(result.task_losses.clone())
        return result
'''


def trained(name: str = "unrolled") -> Result:
    results: list[Result] = []

    def keeping() -> Generator[float, None, None]:
        results.append((yield from steadiness.measure(bench(name, outer_lr=1e-3, iterations=60, looks=3))))

    assert list(keeping()) == [0.0, 0.1, 0.4, 0.7, 1.0]
    return results[0]


def test_live_bytes_are_counted_exactly_and_each_storage_once() -> None:
    device = torch.device("cpu")
    before = memory.live_tensor_bytes(device)
    tensor = torch.zeros(1000, dtype=torch.float64)
    view = tensor[10:20]
    assert memory.live_tensor_bytes(device) == before + 8000
    del tensor  # the view keeps the whole storage
    assert memory.live_tensor_bytes(device) == before + 8000
    cycle: list[object] = [view]
    cycle.append(cycle)
    del view, cycle
    assert memory.live_tensor_bytes(device) == before


@pytest.mark.parametrize("name", ["unrolled", "higher"])
def test_not_a_byte_of_tensors_is_left_by_an_iteration(name: str) -> None:
    result = trained(name)
    assert (result.row["tensors"], result.row["tensor_change_bytes"]) == ("constant", 0)
    looks = result.series["memory"]
    assert looks["iteration"] == [6, 24, 42, 60]  # after a tenth
    assert len(looks["growth_mib"]) == 4 and looks["growth_mib"][0] == 0


@pytest.mark.slow
def test_the_command_tells_a_leak_and_fails(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "leaking.py").write_text(LEAKING)
    monkeypatch.setitem(steadiness.ITERATIONS, "quick", 240)
    monkeypatch.setattr(steadiness, "LOOKS", 6)
    monkeypatch.setattr(limits, "EXPERIMENTS", ("steadiness",))
    code, out, _ = call("load", "--device", "cpu", "--implementations", "unrolled,leaking.py")
    assert code == 1
    assert "steadiness, leaking: the bytes of live tensors changed by" in " ".join(out.split())
    with (tmp_path / "results" / "tables" / "steadiness.csv").open() as lines:
        rows = {row["implementation"]: row for row in csv.DictReader(lines)}
    assert {name: row["tensors"] for name, row in rows.items()} == {"unrolled": "constant", "leaking": "not constant"}
    kept = float(rows["leaking"]["tensor_change_bytes"]) / (10 * 4)  # tasks × float32
    assert 90 <= kept <= 240 and kept == int(kept)
    assert rows["unrolled"]["growth_mib_verdict"] == "within"
