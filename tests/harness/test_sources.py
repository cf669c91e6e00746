"""The sources of a cell are the files that its processes imported, as they were then, wherever these lie."""

import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import metagradient
from experiments.harness import checkout
from experiments.harness.executor import Here
from experiments.harness.measure import checkpoint
from experiments.harness.processes import imports
from experiments.harness.processes.answers import merge
from experiments.harness.processes.imports import EDITED
from experiments.harness.records import Case, Parameters, Result, Status, StoredCell
from experiments.harness.records.messages import End
from experiments.harness.run import Plan
from experiments.harness.status import ROOT as PROJECT

MakePlan = Callable[..., Plan]
MINE = """
import sys; from pathlib import Path
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
import beside, package.inner, above
from baselines.handwritten.unrolled import Unrolled

class Mine(Unrolled):
    def meta_gradient(self, prepared):
        import late
        return super().meta_gradient(prepared)
"""
HELPERS = ("mine/beside.py", "mine/package/__init__.py", "mine/package/inner.py", "above.py", "mine/late.py")
NAMES = [f"external_mine/{name}" for name in ("../above.py", *(n.removeprefix("mine/") for n in HELPERS if "/" in n))]
NET = """
import sys; from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import shapes
from torch import nn

def make():
    return nn.Sequential(nn.Linear(1, shapes.WIDTH), nn.Tanh(), nn.Linear(shapes.WIDTH, 1))
"""


@pytest.fixture
def one_case(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> MakePlan:
    """A plan for the least that can be measured."""
    monkeypatch.setattr(metagradient, "NETWORKS", {"tanh": metagradient.NETWORKS["tanh"]})
    monkeypatch.setattr(metagradient, "STEPS", (1,))
    monkeypatch.setattr(metagradient, "DTYPES", ("float64",))
    return lambda *files, **options: plan("metagradient", implementations=["unrolled", *files], **options)


def mine(tmp_path: Path) -> Path:
    """A file with helpers of every kind; returns it."""
    for name in HELPERS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("HERE = 1\n")
    file = tmp_path / "mine" / "mine.py"
    file.write_text(MINE)
    return file


def missing(plan: Plan) -> list[str]:
    return [name for _, names, _ in plan.todo("metagradient") for name in names]


def cells(plan: Plan) -> dict[str, dict[str, Any]]:
    read = [json.loads(path.read_text()) for path in plan.store.cells.glob("*/*/*.json")]
    return {cell["implementation"]: cell for cell in read}


# -- a run


def test_whatever_a_file_of_the_user_imports_belongs_to_its_cell(one_case: MakePlan, tmp_path: Path) -> None:
    file = mine(tmp_path)
    first = one_case(file)
    first.run()
    assert first.statuses == {"ok": 2}
    sources = cells(first)["mine"]["sources"]
    assert {name for name in sources if name.startswith("external")} == {"external_mine", *NAMES}
    assert not [name for name in cells(first)["unrolled"]["sources"] if name.startswith("external")]
    kept = [path.read_text() for path in first.store.cells.rglob("*.json")]
    assert len(kept) == 4 and str(tmp_path) not in "".join(kept)
    assert missing(one_case(file)) == []
    for name in HELPERS:
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text("HERE = 2\n")
        assert missing(one_case(file)) == ["mine"], name
        (tmp_path / name).write_text(before)
    assert missing(one_case(file)) == []
    (tmp_path / "mine" / "late.py").unlink()
    again = one_case(file)
    again.run()
    assert again.statuses == {"failed": 1} and "No module named 'late'" in cells(again)["mine"]["reason"]
    assert missing(one_case(file)) == []


@pytest.mark.slow
def test_what_a_model_of_the_user_imports_belongs_to_its_cells(one_case: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "shapes.py").write_text("WIDTH = 4\n")
    model = f"{tmp_path / 'net.py'}:make"
    first = one_case(model=model)
    first.run()
    found = [cell for cell in cells(first).values() if "net-make" in cell["case"]["name"]]
    assert [cell["status"] for cell in found] == ["ok"]
    assert {name for name in found[0]["sources"] if name.startswith("external")} == {
        "external_model_net", "external_model_net/shapes.py",
    }  # fmt: skip
    assert missing(one_case(model=model)) == []
    (tmp_path / "shapes.py").write_text("WIDTH = 5\n")
    assert missing(one_case(model=model)) == ["unrolled"]


@pytest.mark.slow
def test_a_model_that_is_edited_while_it_is_measured_has_failed_whatever_it_is_later(
    plan: MakePlan, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    text = NET.replace("import shapes", "Path(__file__).open('a').write('# one more\\n')").replace("shapes.WIDTH", "4")
    file.write_text(text)
    first = plan("training", implementations=["unrolled"], model=f"{file}:make")
    content = file.read_text()
    first.run()
    assert first.statuses == {"failed": 2}
    for cell in [json.loads(path.read_text()) for path in first.store.cells.glob("training/*/*.json")]:
        assert cell["reason"] == "net.py was edited while it was measured"
        assert cell["sources"]["external_model_net"] == EDITED and not cell["series"]
    file.write_text(content)
    again = plan("training", implementations=["unrolled"], model=f"{file}:make")
    assert [names for _, names, _ in again.todo("training")] == [["unrolled"]] * 2


@pytest.mark.slow
def test_a_file_that_is_edited_between_the_processes_of_a_cell_makes_it_fail(plan: MakePlan, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from baselines.handwritten.unrolled import Unrolled\n"
        "class Mine(Unrolled): pass\n"
        "from pathlib import Path; Path(__file__).open('a').write('# one more\\n')\n"
    )
    first = plan("cost", implementations=["unrolled", file])
    first.run()
    assert cells(first)["mine"]["reason"] == "mine.py was edited while it was measured"
    assert cells(first)["mine"]["samples"] == {} and cells(first)["unrolled"]["status"] == "ok"


@pytest.mark.slow
def test_a_cell_whose_process_died_is_measured_again_whatever_of_the_project_is_repaired(
    one_case: MakePlan, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("import os\ndef help(): os._exit(7)\n")
    file = tmp_path / "mine.py"
    call = "import helper\n\nclass Mine(Unrolled):\n    def meta_gradient(self, prepared): helper.help()\n"
    file.write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{MINE.splitlines()[4]}\n{call}")
    first = one_case(file)
    first.run()
    cell = cells(first)["mine"]
    assert cell["status"] == "failed" and "exit code 7" in cell["reason"]
    assert {
        "external_mine/helper.py",
        "baselines/_shared/functional.py",
        "experiments/harness/measure/bench.py",
    } <= set(cell["sources"])
    assert missing(one_case(file)) == []
    (tmp_path / "helper.py").write_text("def help(): pass\n")
    assert missing(one_case(file)) == ["mine"]


def test_two_given_files_of_one_name_are_refused(one_case: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "model_net.py").write_text(
        "from baselines.handwritten.unrolled import Unrolled\nclass M(Unrolled): pass\n"
    )
    (tmp_path / "net.py").write_text(NET.replace("import shapes", "").replace("shapes.WIDTH", "4"))
    with pytest.raises(ValueError, match=r"--implementations model_net.py and --model net.py: rename one of them"):
        one_case(tmp_path / "model_net.py", model=f"{tmp_path / 'net.py'}:make")


# -- the parent


CELL = StoredCell(case=Case("e", "case", Parameters(), "cpu", "float64", 0, 1), implementation="mine")


def answer(**sources: str) -> End:
    """Of a process that ended well."""
    return End(Status.OK, result=Result(row={"ms": 1.0}, samples={"ms": [1.0]}), sources=sources)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("external_mine", "mine.py"),
        ("external_model_net", "net.py"),
        ("external_mine/package/inner.py", "package/inner.py"),
        ("external/library/core.py", "library/core.py"),
        ("baselines/_shared/functional.py", "baselines/_shared/functional.py"),
    ],
)
def test_processes_with_different_sources_make_no_cell(name: str, said: str) -> None:
    same = merge(CELL, {"first": [answer(**{name: "a"})], "second": [answer(**{name: "a", "other": "b"})]})
    assert (same.status, same.sources) == ("ok", {name: "a", "other": "b"})
    merged = merge(CELL, {"first": [answer(**{name: "a"})], "second": [answer(**{name: "b"}), answer(**{name: "a"})]})
    assert (merged.status, merged.reason) == ("failed", f"{said} was edited while it was measured")
    assert merged.sources == {name: EDITED} and merged.rows == [{}] and not merged.samples


def test_the_parent_fills_in_only_what_no_worker_said_and_nothing_that_was_edited_since(
    one_case: MakePlan, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from baselines.handwritten.unrolled import Unrolled\nclass Mine(Unrolled): pass\n")
    made = one_case(file)
    ((case, _, _),) = made.todo("metagradient")
    now = made.sources.now("external_mine")

    def sources(*ends: End) -> dict[str, str]:
        return made._cell(case, "mine", {"judge": ends}, None).sources

    assert sources(answer(external_mine="as the worker had it"))["external_mine"] == "as the worker had it"
    assert sources(answer()).keys() == {"external_mine", "experiments/metagradient.py"}
    dead = End(Status.FAILED, "killed")
    assert sources(dead)["external_mine"] == now
    file.write_text(file.read_text() + "# edited\n")
    assert sources(dead)["external_mine"] == EDITED
    assert sources(answer())["external_mine"] == EDITED
    assert made.sources.afresh().now("external_mine") == imports.sha256(file)


def test_a_run_leaves_the_sources_that_it_knows(one_case: MakePlan, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import os, sys; sys.path.insert(0, os.path.dirname(__file__)); import helper\n" + "x = 1\n")
    (tmp_path / "helper.py").write_text("")
    file.write_text(
        file.read_text() + "from baselines.handwritten.unrolled import Unrolled\nclass Mine(Unrolled): pass\n"
    )
    made = one_case(file)
    made.executor = Editor(tmp_path / "helper.py")
    made.run()
    assert made.executor.before["external_mine/helper.py"] == hashlib.sha256(b"").hexdigest()
    left = json.loads((made.store.cells / "sources.json").read_text())
    assert left["sources"]["baselines/contract.py"] == imports.sha256(PROJECT / "baselines" / "contract.py")
    assert left["sources"]["external_mine"] == imports.sha256(file)
    assert left["sources"]["external_mine/helper.py"] == imports.sha256(tmp_path / "helper.py")
    assert left["commit"] == made.commit == checkout.commit()
    assert str(tmp_path) not in json.dumps(left)


class Editor(Here):
    """An executor that measures nothing: it looks at the sources that the run has left, and edits a file."""

    def __init__(self, file: Path) -> None:
        self.file, self.before = file, {}

    def measure(self, plan: Plan, *_: Any) -> None:
        self.before = json.loads((plan.store.cells / "sources.json").read_text())["sources"]
        self.file.write_text("HERE = 1\n")


# -- checkpoints, and commits


def test_a_checkpoint_of_other_sources_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = checkpoint.Told({"heldout": {"iteration": [3.0]}}, [3])
    model = torch.nn.Linear(1, 1)
    adam = torch.optim.Adam(model.parameters())
    for then, now, goes_on in (
        ({"external_mine/x.py": "a"}, {"external_mine/x.py": "a"}, True),
        ({"external_mine/x.py": "a"}, {"external_mine/x.py": "b"}, False),
        ({"external_mine/x.py": "a"}, {}, True),  # it is imported later, and then in the name of nothing older
    ):
        monkeypatch.setattr(imports, "sources", lambda then=then: then)
        checkpoint.save(tmp_path / "kept.pt", model, adam, told)
        monkeypatch.setattr(imports, "sources", lambda now=now: now)
        assert checkpoint.resume(tmp_path / "kept.pt", model, adam) == (told if goes_on else None)
    state = torch.load(io.BytesIO((tmp_path / "kept.pt").read_bytes()), weights_only=True)
    del state["sources"]
    torch.save(state, tmp_path / "kept.pt")
    assert checkpoint.resume(tmp_path / "kept.pt", model, adam) == told


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git here")
def test_the_commit_says_whether_anything_differs_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "checkout"
    (root / "baselines").mkdir(parents=True)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", "-C", root, *who, *arguments], capture_output=True, text=True, check=True).stdout

    assert checkout.commit(root) == ""
    git("init", "--quiet")
    assert checkout.commit(root) == ""
    (root / "file").write_text("1")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    head = git("rev-parse", "HEAD")[:12]
    assert checkout.commit(root) == head
    assert checkout.commit(root / "baselines") == ""
    (root / "notes").write_text("")
    assert checkout.commit(root) == head
    (root / "baselines" / "mine.py").write_text("")
    assert checkout.commit(root) == f"{head} and changes"
    (root / "baselines" / "mine.py").unlink()
    (root / "file").write_text("2")
    assert checkout.commit(root) == f"{head} and changes"
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout.commit(root) == ""
