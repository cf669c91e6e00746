"""What most tests need: a bench for a small case, and small cases for whole runs."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's matrices are small here: its threads would only wait

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import baselines
from baselines._compiler import tracing
from experiments.__main__ import main
from experiments.harness.measure.bench import Bench
from experiments.harness.processes import isolate
from experiments.harness.records import Case, Parameters
from experiments.harness.records.messages import Machine
from experiments.harness.request import request
from experiments.harness.run import Plan

torch.set_num_threads(1)  # as the harness does; small matrices are slower on more

Call = Callable[..., tuple[int, str, str]]
IMPLEMENTATIONS = sorted(baselines.names())
DESCRIBED: dict[tuple[Any, ...], Machine] = {}
SMALL = Parameters(
    family="sinusoid",
    model={"hidden": 2, "width": 8, "activation": "tanh"},
    tasks=3,
    shots=4,
    queries=6,
    inner_lr=0.1,
    inner_steps=2,
)


def bench(name: str = "unrolled", dtype: str = "float64", seed: int = 0, **params: Any) -> Bench:
    """A bench for a small case; `model_file` and the case's parameters can be given."""
    file = params.pop("model_file", None)
    return Bench(Case("test", "small", SMALL.extended(**params), "cpu", dtype, seed, 1), name, None, file)


@pytest.fixture(autouse=True)
def traced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process traced graphs run as they are, where a test does not ask for `machine_code`: that takes long."""
    if "machine_code" not in request.keywords:
        monkeypatch.setattr(tracing.MachineCode, "__call__", lambda self, *tensors: self.graph(*tensors))


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker says of the same files is asked once in this process: to import everything takes it seconds."""
    ask = isolate.describe

    def describe(device: str, files: dict[str, str]) -> Machine:
        contents = tuple((name, file, Path(file).read_text()) for name, file in files.items())
        folders = {Path(file).parent for file in files.values() if not Path(file).is_relative_to(baselines.HERE)}
        near = tuple(sorted(str(path) for folder in folders for path in folder.glob("*")))  # what they may import
        key = (device, os.environ.get("PYTHONPATH"), os.environ.get("PATH"), contents, near)
        if key not in DESCRIBED:
            DESCRIBED[key] = ask(device, files)
        return copy.deepcopy(DESCRIBED[key])

    monkeypatch.setattr(isolate, "describe", describe)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan for a whole run with tiny cases, whose cells lie in a folder of their own."""
    from experiments import cost, training

    monkeypatch.setitem(cost.SIZES, "quick", ((2, 1, 3, 8),))
    monkeypatch.setitem(cost.PROCESSES, "quick", 1)
    monkeypatch.setitem(cost.ROUNDS, "quick", 2)
    for table, size in ((training.ITERATIONS, 6), (training.EVALUATIONS, 2), (training.HELDOUT, 4)):
        monkeypatch.setitem(table, "quick", size)
    monkeypatch.setattr(training, "SEEDS", (0,))

    def make(*experiments: str, **options: Any) -> Plan:
        options.setdefault("results", tmp_path / "results")
        options.setdefault("device", "cpu")
        return request(experiments, **options)

    return make


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the command line in this process: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["maml-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
