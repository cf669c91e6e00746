"""How something is shown is no part of what it was measured with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness.packages import PACKAGES
from experiments.harness.status import ROOT

pytestmark = pytest.mark.slow
RUN = (
    "run",
    "create_graph",
    "metagradient",
    "--implementations",
    "unrolled",
    "--cases",
    "demonstrations,*-steps0",
)
SHOWING = (
    "analysis/pages/create_graph.py",
    "analysis/pages/__init__.py",
    "analysis/page.py",
    "analysis/columns/column.py",
    "analysis/report.py",
    "experiments/cli/showing.py",
)
MEASURING = {
    "experiments/create_graph.py": {"create_graph"},
    "experiments/metagradient.py": {"metagradient"},
    "baselines/handwritten/unrolled.py": {"metagradient"},
    "experiments/harness/experiment.py": {"create_graph", "metagradient"},
}


def maml_bench(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "experiments", *arguments, "--results", "here"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(
        command, cwd=project, env=environment, check=True, capture_output=True, text=True, timeout=300
    ).stdout


def outdated(project: Path) -> set[str]:
    """The experiments of which something would be measured."""
    lines = maml_bench(project, *RUN, "--dry-run").splitlines()
    return {line.partition("/")[0] for line in lines if "to measure: nothing" not in line and "to measure" in line}


def test_only_what_measuring_needs_is_measured_anew(tmp_path: Path) -> None:
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    maml_bench(tmp_path, *RUN)
    assert outdated(tmp_path) == set()
    for name in SHOWING:
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n# a new caption\n")
    assert outdated(tmp_path) == set()
    for name, experiments in MEASURING.items():
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "\n# another measurement\n")
        assert outdated(tmp_path) == experiments, name
        (tmp_path / name).write_text(before)
