"""A published run: whole, with the sources that it was measured with, and nothing in it that would mislead."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.cli.publishing import doubts
from experiments.harness.records.cells import parse_cell, seal
from tests.conftest import Call
from tests.project.commands import make


@pytest.fixture
def measured(call: Call, tmp_path: Path) -> Path:
    """A results folder with one cell."""
    code, out, _ = call("run", "create_graph", "--results", "here")
    assert code == 0 and "1 ok" in out
    return tmp_path / "here"


def change(results: Path, **fields: Any) -> None:
    """Of its one cell."""
    (path,) = results.glob("cells/*/*/*.json")
    path.write_text(seal(replace(parse_cell(json.loads(path.read_text())), **fields)))


def test_a_run_is_published_as_a_whole_and_replaces_what_has_its_name(
    call: Call, measured: Path, tmp_path: Path
) -> None:
    target = tmp_path / "results" / "published" / "machine"
    (target / "tables").mkdir(parents=True)
    (target / "tables" / "old.md").write_text("of an earlier run")
    (measured / "cells" / "create_graph" / "x.damaged").write_text("")
    code, out, err = call("publish", "machine", "--results", "here")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[-2].startswith("written: results/published/machine, 1 cell in ")
    assert lines[-1] == "to be committed: git add --all results/published/machine"
    assert [path.name for path in target.parent.iterdir()] == ["machine"]  # nothing is left over
    assert {path.name for path in target.iterdir()} == {"cells", "tables"}
    cell = "create_graph/*/pytorch.*.json"
    kept = [path.relative_to(target / "cells") for path in (target / "cells").rglob("*") if path.is_file()]
    others = [path.name for path in kept if not path.match(cell) and path.parent.name != "environments"]
    assert others == ["sources.json"]
    assert sum(path.match(cell) for path in kept) == 1
    assert {path.name for path in (target / "tables").iterdir()} == {"create_graph.csv", "create_graph.md"}
    change(measured, sources={"experiments/create_graph.py": "another"})
    assert call("publish", "machine", "--results", "here")[0] == 2
    assert (target / "tables" / "create_graph.md").exists()  # what was refused changed nothing
    code, out, _ = call("render", "--results", target)
    assert code == 0 and "marked" not in out
    code, out, err = call("publish", "machine", "--results", target)
    assert code == 2 and "is what was published as machine" in err


@pytest.mark.parametrize("sources", [{"experiments/create_graph.py": "0"}, {"baselines/a/pytorch.py": "0"}])
def test_rows_of_other_sources_are_refused(call: Call, measured: Path, sources: dict[str, str]) -> None:
    change(measured, sources=sources)
    code, out, err = call("publish", "machine", "--results", "here")
    assert code == 2 and len(err.splitlines()) == 1 and "Traceback" not in out
    said = "no longer in the project" if "baselines/a/pytorch.py" in sources else "older sources"
    assert f"1 of 1 cells have {said}, such as create_graph/demonstrations" in err and "/pytorch: measure again" in err
    assert not (measured.parent / "results").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "'' is no plain folder name"),
        (".", "'.' is no plain folder name"),
        ("..", "'..' is no plain folder name"),
        ("../elsewhere", "'../elsewhere' is no plain folder name"),
        ("/absolute", "'/absolute' is no plain folder name"),
        (".hidden", "'.hidden' is no plain folder name"),
        ("two words", "'two words' is no plain folder name"),
        ("two\nlines", "is no plain folder name"),
        ("something-else", "results/published/something-else is there already, and no run"),
        ("machine", "nothing to publish in nowhere: it has no cells"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(call: Call, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "results" / "published" / "something-else").mkdir(parents=True)
    code, _, err = call("publish", "--results", "nowhere", "--", name)
    assert code == 2 and said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "nowhere").exists()


def test_what_a_reader_cannot_look_up_is_told() -> None:
    assert list(doubts({"0123456789ab"})) == []
    assert list(doubts({"", "0123456789ab and changes"})) == [
        "some cells name no commit: they were measured without git, or before cells did",
        "measured with changes that no commit has: 0123456789ab and changes",
    ]


def test_make_hands_the_name_on(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    nameless = make("publish", f"VENV={tmp_path}")
    assert nameless.returncode == 2 and "name the machine" in nameless.stdout
    planned = make("--dry-run", "publish", f"VENV={tmp_path}", "MACHINE=my-machine", "RESULTS=here")
    assert '-m experiments publish --results here -- "my-machine"' in planned.stdout
