"""The README's worked examples and the published tables it quotes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    for package in ("analysis", "baselines", "experiments"):
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


@one_worker
def test_a_mistake_dropped_into_baselines_comes_out_wrong(copy: Path) -> None:
    csv = (copy / "results" / "tables" / "rounding.csv").read_text().splitlines()
    for name, status in (("mistaken", "wrong"), ("my-maml", "ok"), ("unrolled", "ok")):
        found = [line for line in csv if f",{name}," in line]
        assert len(found) == 2
        assert all(f",{status}," in line for line in found)


def test_tables_in_the_readme_are_those_of_the_published_run() -> None:
    (section,) = re.findall(r"## What came out\n(.*?)\n## ", README, re.DOTALL)
    published = "\n".join(file.read_text() for file in PUBLISHED.glob("*/tables/*.md"))
    quoted = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(quoted) > 10
    for line in quoted:
        assert line in published


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
