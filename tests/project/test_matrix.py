"""What the matrix makes of the versions it is given, and how it says what cannot be had. Nothing is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from nox import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The noxfile, as nox loads it."""
    monkeypatch.setenv("TORCH", "2.4.1")
    monkeypatch.setenv("PYTHON", "3.11")
    monkeypatch.chdir(ROOT)
    registry.reset()
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_pair_once_with_a_numpy_that_fits(matrix: ModuleType) -> None:
    pairs = matrix.pairs("2.0.1 2.15.0 2.0.1", "3.11 3.12")
    assert [tuple(pair) for pair in pairs] == [
        ("2.0.1", "3.11"),
        ("2.0.1", "3.12"),
        ("2.15.0", "3.11"),
        ("2.15.0", "3.12"),
    ]
    assert pairs[0].numpy() == "numpy==1.26.4"
    assert pairs[2].numpy() in (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    assert [pair.name for pair in pairs[:2]] == ["torch2.0.1-py3.11", "torch2.0.1-py3.12"]


def test_an_interpreter_that_does_not_start_is_none(
    matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(folder: str, name: str, text: str) -> Path:
        file = tmp_path / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return file

    shim, wrong = program("shims", "python3.12", "exit 127"), program("bin", "python3.12", "echo 3.11")
    monkeypatch.setenv("PATH", os.pathsep.join(str(file.parent) for file in (shim, wrong)))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    wrong.with_name("python3.13").write_text("no program")
    wrong.with_name("python3.13").chmod(0o755)
    assert matrix.interpreter("3.12") is None and matrix.interpreter("3.13") is None
    real = program("pyenv/versions/3.12.1/bin", "python3.12", "echo 3.12")
    assert matrix.interpreter("3.12") == str(real)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.0.1 (from versions: 2.2.0)\n"
            "ERROR: No matching distribution found for torch==2.0.1",
            "torch 2.0.1 has no build for Python 3.12",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(host=somewhere)'\n"
            "ERROR: No matching distribution found for torch==2.0.1",
            "the package index could not be reached for torch 2.0.1",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "there is no space left for torch 2.0.1",
        ),
        ("error: /some/where", "torch 2.0.1 could not be installed for Python 3.12"),
    ],
)
def test_why_pytorch_did_not_install(matrix: ModuleType, said: str, reason: str) -> None:
    assert matrix.why_not(matrix.Pair("2.0.1", "3.12"), said) == reason


@pytest.mark.parametrize(("variable", "given"), [("TORCH", "foo"), ("TORCH", ""), ("PYTHON", "3.12 python3")])
def test_malformed_versions_are_one_clear_line_and_exit_2(variable: str, given: str) -> None:
    chosen = os.environ | {"TORCH": "2.4.1", "PYTHON": "3.11", variable: given}
    command = [sys.executable, "-m", "nox", "--list"]
    done = subprocess.run(command, cwd=ROOT, env=chosen, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"make matrix: {variable}: ") and len(done.stderr.splitlines()) == 1
