"""The Makefile documents itself, and its checks speak plainly."""

import re
from pathlib import Path

from tests.project.commands import ROOT, make

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def test_help_documents_every_target_and_variable() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    shown = make("help").stdout
    for name in targets[1].split() + re.findall(r"^([A-Z]+) *\?=", makefile, re.MULTILINE):
        assert re.search(rf"^ +{name} +\S+ \S+", shown, re.MULTILINE), name


def test_the_documentation_names_only_targets_that_exist() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= known, page.name


def test_prose_is_no_wider_than_code() -> None:
    """Tables and pictures cannot be wrapped, and code is wrapped by others."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", lambda code: "\n" * code[0].count("\n"), page.read_text(), flags=re.M | re.S)
        for number, line in enumerate(prose.splitlines(), 1):
            assert len(line) <= 120 or line.startswith(("|", "<img", "    ")), f"{page.name}:{number}"


def test_a_ready_environment_is_used_and_nothing_installed(tmp_path: Path) -> None:
    absent = make("tables", f"VENV={tmp_path}/absent")
    assert absent.returncode == 2
    assert "there is no environment with bin/python there" in absent.stdout
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    planned = make("--dry-run", "tables", f"VENV={tmp_path}")
    assert planned.returncode == 0
    assert "pip" not in planned.stdout
    assert f"{tmp_path}/bin/python -m experiments run" in planned.stdout


def test_clean_never_touches_results() -> None:
    assert "results" not in make("--dry-run", "clean").stdout
