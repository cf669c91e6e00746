"""The README's worked examples and the published tables it quotes."""

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

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PUBLISHED = ROOT / "results" / "published"


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


one_worker = pytest.mark.xdist_group("copy")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the README's files added, and one implementation with a deliberate mistake."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "baselines" / "handwritten" / "my_maml.py").write_text(example("implementation"))
    (folder / "experiments" / "rounding.py").write_text(example("experiment"))
    mistake = example("implementation").replace("inner_grads[name]", "inner_grads[name].detach()")
    assert mistake != example("implementation")
    (folder / "baselines" / "handwritten" / "mistaken.py").write_text(mistake)
    for command in (
        ["run", "rounding", "--implementations", "my-maml,mistaken,unrolled"],
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
    found = [row for row in rows(table) if row[0] == "`my-maml`"]
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
    for name, status in (("mistaken", "wrong"), ("my-maml", "ok"), ("unrolled", "ok")):
        found = [line for line in csv if f",{name}," in line]
        assert len(found) == 2
        assert all(f",{status}," in line for line in found)


@pytest.mark.parametrize("other", ["handwritten.adjoint import Adjoint", "libraries.learn2learn import Learn2Learn"])
def test_a_loop_of_ones_own_trains_alike_with_another_implementation(
    other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = example("training").replace("batches(1000)", "batches(3)").replace("torch.float32", "torch.float64")
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


def test_tables_in_the_readme_are_those_of_the_published_run() -> None:
    (section,) = re.findall(r"## What came out\n(.*?)\n## ", README, re.DOTALL)
    published = [row for file in PUBLISHED.glob("*/tables/*.md") for row in rows_of_tables(file.read_text())]
    quoted = rows_of_tables(section)
    assert len(quoted) > 10
    for row in quoted:
        assert any(row.items() <= whole.items() for whole in published), row


def rows_of_tables(markdown: str) -> list[dict[str, str]]:
    """The rows of all tables in it, each by the names of its columns."""
    rows, header = [], list[str]()
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
        elif not cells[0].startswith((":-", "--")):
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


def test_links_and_pictures_in_the_readme_exist() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README) + re.findall(r'<img src="([^"]+)"', README)
    assert len(targets) > 12
    for target in targets:
        assert (ROOT / target).exists(), target


def test_nothing_published_names_a_path_a_host_or_an_address() -> None:
    files = [file for file in PUBLISHED.rglob("*") if file.suffix in (".csv", ".md", ".json", ".svg")]
    assert files
    for file in files:
        text = re.sub(r'(xmlns(:\w+)?|rdf:resource|rdf:about)="[^"]*"|<!DOCTYPE[^>]*>', "", file.read_text())
        assert not re.search(r"https?://|(?<![\w.])/(home|root|tmp|work|usr|opt|var|mnt)/", text), file
