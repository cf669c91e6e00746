"""The examples of the documentation that take a copy of the project, and what is published."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.harness.packages import PACKAGES
from tests.project.examples import examples

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"


one_worker = pytest.mark.xdist_group("copy")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the examples of the documentation, and one with a deliberate mistake."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "baselines" / "handwritten" / "nested_grad.py").write_text(examples()["nested_grad.py"])
    for name in ("experiments/rounding.py", "analysis/pages/rounding.py"):
        (folder / name).write_text(examples()[name])
    mistake = examples()["nested_grad.py"].replace("inner_grads[name]", "inner_grads[name].detach()")
    assert mistake != examples()["nested_grad.py"]
    (folder / "baselines" / "handwritten" / "mistaken.py").write_text(mistake)
    for command in (
        ["run", "rounding", "--implementations", "nested-grad,mistaken,unrolled"],
        ["render"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "experiments", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def rows(table: Path) -> list[list[str]]:
    return [[c.strip() for c in line.split("|")[1:-1]] for line in table.read_text().splitlines() if "| `" in line]


@pytest.mark.slow
@one_worker
def test_the_added_experiment_and_implementation_are_found_and_right(copy: Path) -> None:
    table = copy / "results" / "tables" / "rounding.md"
    found = [row for row in rows(table) if row[0] == "`nested-grad`"]
    assert len(found) == 2
    for row in found:
        assert 1e-9 < float(row[1]) < 1e-5
        assert float(row[2]) < 1e-12
    assert "How does rounding grow with the number of inner steps?" in table.read_text()
    assert (copy / "results" / "plots" / "rounding.png").stat().st_size > 5000


@pytest.mark.slow
@one_worker
def test_a_mistake_dropped_into_baselines_comes_out_wrong(copy: Path) -> None:
    csv = (copy / "results" / "tables" / "rounding.csv").read_text().splitlines()
    for name, status in (("mistaken", "wrong"), ("nested-grad", "ok"), ("unrolled", "ok")):
        found = [line for line in csv if f",{name}," in line]
        assert len(found) == 2
        assert all(f",{status}," in line for line in found)


@pytest.mark.parametrize("other", ["handwritten.adjoint import Adjoint", "libraries.learn2learn import Learn2Learn"])
def test_a_loop_of_ones_own_trains_alike_with_another_implementation(
    other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = examples()["train.py"].replace("batches(1000)", "batches(3)").replace("torch.float32", "torch.float64")
    name = other.split()[-1]
    with_other = text.replace("handwritten.compiled import Compiled", other).replace("Compiled(", f"{name}(")
    assert "batches(3)" in text and "Compiled" not in with_other
    torch.set_default_dtype(torch.float64)
    try:
        mine, others = map(trained, (text, with_other))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.allclose(mine, others, rtol=0, atol=1e-9)
    assert capsys.readouterr().out.count("0: query loss ") == 2


def trained(text: str) -> Tensor:
    """The weights that a script leaves in its `model`, in one vector; they are not those that it began with."""
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    exec(text, found)
    model, optimizer = found["model"], found["optimizer"]
    assert all(optimizer.state[p]["step"] == 3 for p in model.parameters())
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_nothing_published_names_a_path_a_host_or_an_address() -> None:
    files = [file for file in PUBLISHED.rglob("*") if file.suffix in (".csv", ".md", ".json", ".svg")]
    assert files
    for file in files:
        text = re.sub(r'(xmlns(:\w+)?|rdf:resource|rdf:about)="[^"]*"|<!DOCTYPE[^>]*>', "", file.read_text())
        assert not re.search(r"https?://|(?<![\w.])/(home|root|tmp|work|usr|opt|var|mnt)/", text), file
