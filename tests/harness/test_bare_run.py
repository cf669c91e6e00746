"""A run by `python -m experiments.harness`, as an old environment or a bare machine has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("matplotlib", "orjson", "pandas", "rich", "scipy", "seaborn", "tabulate", "typer")


def bare(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it where, in all its processes, importing one of these libraries raises ImportError."""
    (folder / "without").mkdir(exist_ok=True)
    for library in HEAVY:
        (folder / "without" / f"{library}.py").write_text(f"raise ImportError('{library} was imported')\n")
    command = [sys.executable, "-m", "experiments.harness", *map(str, arguments)]
    changed = os.environ | {"PYTHONPATH": str(folder / "without")}
    return subprocess.run(command, cwd=ROOT, env=changed, capture_output=True, text=True, check=False)


def test_it_measures_without_the_libraries_of_the_command_line(tmp_path: Path) -> None:
    done = bare(tmp_path, "create_graph", "--results", tmp_path, "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["create_graph: 1 of 1 cells", "measured now: 1 ok"]
    assert len(list(tmp_path.glob("cells/create_graph/*/*.json"))) == 1
    assert "nothing, all of it was there" in bare(tmp_path, "create_graph", "--results", tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense", "--results", "unused"], "unknown experiment 'nonsense'"),
        (["create_graph", "--results", "Makefile"], "the results folder Makefile cannot be written"),
        (["create_graph", "--results", "unused", "--threads", "0"], "--threads 0"),
        (["create_graph", "--results", "unused", "--implementations", "absent.py"], "--implementations absent.py"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = bare(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
