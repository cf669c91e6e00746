"""What users import, and folders of theirs that have the names of our packages."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import maml_bench
from baselines import contract
from experiments.harness.packages import PACKAGES
from experiments.harness.processes import isolate
from experiments.harness.status import ROOT

COMMAND = "import sys; from experiments.__main__ import main; main()"
MINE = """
from maml_bench import Baseline, MetaGradient, TaskBatch, take_grads, trainable

class Mine(Baseline):
    computes = "maml"
"""


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call Python in a folder, with our packages on its path."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def theirs(folder: Path, *packages: str) -> Path:
    """Make packages of a user's, which cannot be imported, and an implementation beside them."""
    for name in packages:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('theirs was imported')\n")
    (folder / "mine.py").write_text(MINE)
    return folder


def test_users_import_what_the_contract_has() -> None:
    for name in maml_bench.__all__:
        assert getattr(maml_bench, name) is getattr(contract, name)
    assert (ROOT / "maml_bench" / "py.typed").exists()  # so that a type checker takes these types


def test_the_projects_settings_know_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tool = settings["tool"]
    lists = (
        tool["hatch"]["build"]["targets"]["wheel"],
        tool["mypy"],
        {"packages": tool["importlinter"]["root_packages"]},
    )
    for known in lists:
        assert known["packages"] == list(PACKAGES)


def test_the_command_and_its_children_never_see_packages_in_the_present_folder(tmp_path: Path) -> None:
    folder = theirs(tmp_path, *PACKAGES)
    asked = ("run", "metagradient", "--implementations", "mine.py", "--device", "cpu", "--dry-run")
    for command in (["-P", "-c", COMMAND], ["-P", "-m", "experiments"]):  # the first is what `maml-bench` does
        done = call(folder, *command, *asked)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "to measure: mine; there already: nothing" in done.stdout


@pytest.mark.parametrize("text", ["from experiments import models", "import experiments.models", "import analysis.x.y"])
def test_a_file_that_imports_a_package_which_ours_hides_is_told_so(tmp_path: Path, text: str) -> None:
    package = text.split()[1].partition(".")[0]
    folder = theirs(tmp_path, package)
    (folder / "mine.py").write_text(f"{text}\n{MINE}")
    known = isolate.describe("cpu", {"mine": str(folder / "mine.py")})
    assert known.implementations["mine"].problem.endswith(
        f"; your package {package} is hidden by maml-bench's own of that name: rename yours"
    )
    (folder / "mine.py").write_text(f"import experimentz\n{MINE}")
    known = isolate.describe("cpu", {"mine": str(folder / "mine.py")})
    assert "hidden" not in known.implementations["mine"].problem


@pytest.mark.parametrize("module", ["experiments", "experiments.harness"])
@pytest.mark.parametrize("package", sorted({*PACKAGES} - {"experiments"}))
def test_started_where_a_package_hides_one_of_ours_it_is_one_clear_line(
    tmp_path: Path, module: str, package: str
) -> None:
    done = call(theirs(tmp_path, package), "-m", module, "create_graph", "--results", "results")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path / package} in the place of {ROOT / package}" in done.stderr and "rename it" in done.stderr


def test_a_script_beside_a_package_that_hides_ours_ends_with_a_line_that_says_so(tmp_path: Path) -> None:
    script = theirs(tmp_path, "baselines") / "train.py"
    script.write_text("from maml_bench import Spec\n")
    done = call(tmp_path, str(script))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"ImportError: maml_bench needs its own package {ROOT / 'baselines'}"
    )
    assert f"finds under that name is {tmp_path / 'baselines'}: rename that" in done.stderr
    (tmp_path / "baselines").rename(tmp_path / "others")
    assert call(tmp_path, str(script)).returncode == 0
