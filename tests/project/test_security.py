"""Nothing that comes from outside is unpickled, nor executed in the process of a run or of a reader of results."""

import ast
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import pages
from analysis.columns.column import Column
from analysis.page import Page
from analysis.report import report
from experiments.harness.packages import PACKAGES

ROOT = Path(__file__).parents[2]
WORKERS = {"experiments/audit/worker.py", "experiments/harness/factory.py", "baselines/__init__.py"}
"""Where a user's file is executed: by functions that only workers call."""
UNPICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module that a user runs, by its path."""
    files = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(files)}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call: its module, what is called, as it is written, and the call."""
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, ast.unparse(node.func), node


def test_nothing_is_unpickled() -> None:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {module.split(".")[0] for module in named} & UNPICKLING, name
    for name, called, call in calls():
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert called not in ("eval", "exec"), name
        assert not called.endswith(("connection.recv", "connection.send")), f"{name}: these pickle; the _bytes do not"
        if called == "torch.load":
            assert given.get("weights_only") == "True", name
        if called in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False", name
        assert "read_pickle" not in called, name


def test_a_file_of_the_user_is_executed_by_workers_only() -> None:
    assert {name for name, called, _ in calls() if called.endswith("exec_module")} == WORKERS
    loads = {name for name, called, _ in calls() if called in ("baselines.load", "from_file", "Calls")}
    assert loads <= {
        "experiments/audit/worker.py",
        "experiments/harness/measure/bench.py",
        "experiments/harness/measure/problem.py",
        "experiments/harness/processes/worker.py",
        "experiments/published.py",  # measures, and that is what workers do
        "experiments/training.py",
    }


def test_archives_are_read_in_place_and_nothing_is_extracted() -> None:
    assert not [name for name, called, _ in calls() if called.endswith((".extract", ".extractall", "unpack_archive"))]


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "a | b\n\n# c"])
def test_what_libraries_and_files_say_is_shown_and_not_obeyed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cells" / "speed"
    monkeypatch.setattr(
        pages, "find", lambda name: Page(question=text, columns=(Column("loss", text),), shown=("loss",))
    )
    case = {"name": text, "params": {}, "device": "cpu", "dtype": "float64", "seed": 0, "threads": 1}
    empty = {"round_group": None, "empty": {"loss": text}, "samples": {}, "observations": {}, "series": {}}
    cell = {
        "format": 1, "experiment": "speed", "case": case, "implementation": text, "computes": "maml", "library": text,
        "library_version": text, "environment": "0", "reference_only": False, "status": "failed", "reason": text,
        "note": text, "stream_digest": "", "init_digest": "", "rows": [{"loss": text}], "finished": "", **empty,
    }  # fmt: skip
    (folder / "case").mkdir(parents=True)
    (folder / "case" / "cell.json").write_text(json.dumps(cell))
    page, _ = report(tmp_path)
    markdown = (tmp_path / "tables" / "speed.md").read_text()
    for shown in (page.read_text(), markdown):
        assert "<img src=x" not in shown and "<script>alert" not in shown
    assert "\n# c" not in markdown
    header, _, row = markdown[markdown.index("| implementation") :].splitlines()[:3]
    assert row.replace("\\|", "").count("|") == header.count("|")
