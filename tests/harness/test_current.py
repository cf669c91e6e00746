"""What is there already: statuses that stick no longer than their reason, and names of any kind are found again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines._compiler import base
from baselines.first_order.fomaml_compiled import FomamlCompiled
from baselines.handwritten.compiled import Compiled
from experiments import metagradient
from experiments.harness.current import Allowed, current
from experiments.harness.processes import isolate
from experiments.harness.processes.limits import GIB
from experiments.harness.records import Case, Parameters, Status, StoredCell
from experiments.harness.records.cells import parse_cell, seal
from experiments.harness.records.messages import Implementation
from experiments.harness.run import Plan
from experiments.harness.selection import matches
from experiments.harness.sources import Sources
from experiments.harness.store import Store
from tests.conftest import Call

MakePlan = Callable[..., Plan]
CASE = Case("e", "case", Parameters(), "cpu", "float64", 0, 1)
CELL = StoredCell(case=CASE, implementation="mine", timeout_s=10.0, memory_gib=4.0)
NOTHING = Implementation()
ENOUGH = Allowed(10.0, 4.0, None)
ON_GPU = {"gpu_memory_gib": 40.0}
TOOL = """
from pathlib import Path
from baselines.handwritten.unrolled import Unrolled

class Mine(Unrolled):
    @classmethod
    def lacking(cls, device):
        return None if (Path(__file__).parent / "tool").exists() else "there is no tool"
"""
AT_IMPORT = TOOL.replace(
    "class Mine", "if not (Path(__file__).parent / 'tool').exists(): raise OSError('no tool')\nclass Mine"
)
UNROLLED = "from baselines.handwritten.unrolled import Unrolled\n\nclass Mine(Unrolled):\n    pass\n"
NET = "from torch import nn\ndef make(): return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))\n"
ODD = ("my[1]", "my[1].v2", "all*of", "a?b", "with space.and[dot].3")


@pytest.fixture
def one_case(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> MakePlan:
    """A plan for the least that can be measured."""
    monkeypatch.setattr(metagradient, "NETWORKS", {"tanh": metagradient.NETWORKS["tanh"]})
    monkeypatch.setattr(metagradient, "STEPS", (1,))
    monkeypatch.setattr(metagradient, "DTYPES", ("float64",))

    def make(*files: Path, **options: Any) -> Plan:
        options.setdefault("implementations", ["unrolled", *files])
        return plan("metagradient", **options)

    return make


def missing(plan: Plan) -> list[str]:
    return [name for _, names, _ in plan.todo("metagradient") for name in names]


def cell_of(plan: Plan, implementation: str) -> dict[str, Any]:
    read = [json.loads(path.read_text()) for path in plan.store.cells.glob("*/*/*.json")]
    (found,) = [cell for cell in read if cell["implementation"] == implementation]
    return found


# -- statuses


@pytest.mark.parametrize(
    ("status", "changes", "allowed", "again"),
    [
        ("oom", {}, ENOUGH, False),
        ("oom", {}, replace(ENOUGH, memory_gib=4.1), True),
        ("oom", {}, replace(ENOUGH, memory_gib=3.9, timeout_s=99.0), False),
        ("oom", {}, replace(ENOUGH, memory_gib=None), True),
        ("oom", {"memory_gib": None}, replace(ENOUGH, memory_gib=None), False),
        ("oom", {"memory_gib": None}, replace(ENOUGH, memory_gib=9.0), False),
        ("oom", ON_GPU, replace(ENOUGH, gpu_memory_gib=40.5), False),  # it is not free to the byte
        ("oom", ON_GPU, replace(ENOUGH, gpu_memory_gib=80.0), True),
        ("oom", ON_GPU, replace(ENOUGH, gpu_memory_gib=20.0), False),
        ("timeout", {}, ENOUGH, False),
        ("timeout", {}, replace(ENOUGH, timeout_s=10.1), True),
        ("timeout", {}, replace(ENOUGH, memory_gib=99.0), False),
        ("failed", {}, replace(ENOUGH, memory_gib=99.0, timeout_s=99.0), False),
        ("ok", {}, replace(ENOUGH, memory_gib=99.0, timeout_s=99.0), False),
    ],
)
def test_what_ran_out_is_tried_again_with_more(
    status: str, changes: dict[str, Any], allowed: Allowed, again: bool
) -> None:
    cell = replace(CELL, status=Status(status), **changes)
    assert current(cell, Sources({}), NOTHING, allowed) is not again


def test_of_an_old_cell_that_ran_out_nobody_knows_what_it_was_allowed() -> None:
    raw = json.loads(seal(CELL)) | {"format": 1, "experiment": "e"}
    old = parse_cell({name: value for name, value in raw.items() if name != "memory_gib"})
    assert not current(replace(old, status=Status.OOM), Sources({}), NOTHING, ENOUGH)
    assert current(replace(old, status=Status.UNAVAILABLE), Sources({}), NOTHING, ENOUGH)
    assert current(replace(CELL, status=Status.OOM), Sources({}), NOTHING, ENOUGH)


@pytest.mark.parametrize(
    ("cell", "lacking", "again"),
    [
        ({"status": "unavailable", "lacking": "no compiler"}, "no compiler", False),
        ({"status": "unavailable", "lacking": "no compiler"}, "no device", False),
        ({"status": "unavailable", "lacking": "no compiler"}, "", True),
        ({"status": "failed", "lacking": "at import, it was killed"}, "", True),
        ({"status": "unavailable", "lacking": ""}, "", False),
        ({"status": "ok", "lacking": ""}, "no compiler", False),
    ],
)
def test_what_lacked_something_is_tried_again_when_nothing_is_lacking(
    cell: dict[str, Any], lacking: str, again: bool
) -> None:
    then = replace(CELL, status=Status(cell["status"]), lacking=cell["lacking"])
    assert current(then, Sources({}), Implementation(lacking=lacking), ENOUGH) is not again


def test_memory_that_was_too_little_is_tried_again_when_there_is_more(one_case: MakePlan) -> None:
    first = one_case(memory=0.1)
    first.run()
    assert first.statuses == {"oom": 1}
    assert cell_of(first, "unrolled")["memory_gib"] == 0.1
    again = one_case(memory=0.1)
    again.run()
    assert again.statuses == {}
    assert missing(one_case(memory=0.09)) == []
    assert missing(one_case()) == ["unrolled"] == missing(one_case(memory=0.11))
    assert missing(replace(one_case(), memory=0.05 * GIB)) == []


def say_lacking(plan: Plan, reason: str) -> None:
    """Have the plan's machine say that the implementation lacks something."""
    known = plan.machine.implementations
    known["mine"] = replace(known["mine"], lacking=reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [(TOOL, "there is no tool"), (AT_IMPORT, "OSError at import: no tool")],
    ids=["tool", "at import"],
)
def test_what_the_machine_lacked_is_tried_again_when_it_is_there(
    one_case: MakePlan, tmp_path: Path, text: str, reason: str
) -> None:
    file, tool = tmp_path / "mine.py", tmp_path / "tool"
    file.write_text(text)
    tool.touch()
    first = one_case(file)
    tool.unlink()
    first.run()
    cell = cell_of(first, "mine")
    assert (cell["status"], cell["reason"], cell["lacking"]) == ("unavailable", reason, reason)
    say_lacking(first, reason)
    assert missing(first) == []
    tool.touch()
    second = one_case(file)
    second.run()
    assert second.statuses == {"ok": 1} and cell_of(second, "mine")["lacking"] == ""
    tool.unlink()
    say_lacking(second, reason)
    assert missing(second) == []


def test_a_compiler_that_is_not_there_is_lacking_whatever_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    here = torch.device("cpu")
    monkeypatch.setattr(base.tracing.shutil, "which", lambda name: None)
    for implementation in (Compiled, FomamlCompiled):
        assert "C++ compiler" in str(implementation.lacking(here))
        assert implementation.lacking(torch.device("cuda")) is None
    monkeypatch.undo()
    assert Compiled.lacking(here) is None


def test_a_device_that_jax_does_not_see_is_lacking() -> None:
    jax = pytest.importorskip("baselines.libraries._jax")
    assert jax.JaxBaseline.lacking(torch.device("cpu")) is None
    assert "JAX sees no device" in str(jax.JaxBaseline.lacking(torch.device("xpu")))


def test_a_child_says_what_is_lacking(tmp_path: Path) -> None:
    for name, text in (("tool", TOOL), ("at_import", AT_IMPORT), ("dies", "import os; os._exit(5)")):
        (tmp_path / f"{name}.py").write_text(text)
    files = {name: str(tmp_path / f"{name}.py") for name in ("tool", "at_import", "dies")}
    about = isolate.describe("cpu", files).implementations
    assert {name: (own.lacking, own.problem) for name, own in about.items()} == {
        "tool": ("there is no tool", ""),
        "at_import": ("OSError: no tool",) * 2,
        "dies": ("at import, the process ended with exit code 5",) * 2,
    }
    assert about["tool"].helpers == ("external_tool",) and about["dies"].helpers == ()


# -- names


@pytest.mark.parametrize("name", ODD)
def test_cells_of_any_name_are_found_again_and_no_others(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    names = [*ODD, "my", "my1", "allxof", "axb", f"{name}.0123abcd"]
    for own in names:
        for key, group in (("0123abcd", None), ("0123abcd", "20260101T120000000000"), ("fedc9876", None)):
            store.write_cell(store.path(CASE, own, key, group), replace(CELL, implementation=own, round_group=group))
            made = store.checkpoint(CASE, own, key, "aaaa")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
    assert set(store.found(CASE, name, "0123abcd")) == {
        store.path(CASE, name, "0123abcd", group) for group in (None, "20260101T120000000000")
    }
    assert store.checkpoints(CASE, name, "0123abcd") == [store.checkpoint(CASE, name, "0123abcd", "aaaa")]
    assert len(store.all(CASE)) == 3 * len(names)


def test_a_group_of_references_only_goes_whatever_they_are_called(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = [store.path(CASE, name, "0123abcd", "20260101T120000000000") for name in ODD]
    for path, name in zip(gone, ODD, strict=True):
        store.write_cell(path, replace(CELL, implementation=name, round_group="1", reference_only=True))
    stays = [store.path(CASE, ODD[0], "0123abcd", "2"), store.path(CASE, ODD[1], "0123abcd", None)]
    store.write_cell(stays[0], replace(CELL, implementation=ODD[0], round_group="2"))
    store.write_cell(stays[1], replace(CELL, implementation=ODD[1], reference_only=True))
    store.retire(CASE, {}, ())
    assert set(store.all(CASE)) == set(stays)


@pytest.mark.parametrize(
    ("name", "pattern", "same"),
    [
        ("study-tasks10", "study-*", True),
        ("tanh-net[1]-make", "tanh-net[1]-make", True),
        ("tanh-net1-make", "tanh-net[1]-make", True),  # as in a shell
        ("tanh-net[1]-make", "tanh-net[[]1]-*", True),
        ("tanh-net[1]-make", "tanh", False),
    ],
)
def test_a_case_is_named_exactly_or_by_a_pattern(name: str, pattern: str, same: bool) -> None:
    assert matches(name, pattern) is same


@pytest.mark.slow
def test_files_of_any_name_are_measured_once_and_shown(one_case: MakePlan, tmp_path: Path, call: Call) -> None:
    files, net = [tmp_path / f"{name}.py" for name in ODD], tmp_path / "net[1].v2 *.py"
    for file in files:
        file.write_text(UNROLLED)
    net.write_text(NET)
    options: dict[str, Any] = {"implementations": ["unrolled", *files], "model": f"{net}:make"}
    first = one_case(**options)
    (case,) = first.cases("metagradient")
    assert "net[1].v2 *-make" in case.name
    options["cases"] = [case.name]
    first = one_case(**options)
    first.run()
    assert first.statuses == {"ok": len(ODD) + 1}
    again = one_case(**options)
    again.run()
    assert again.statuses == {} and again.outdated() == []
    for name in ODD:
        code, out, _ = call("show", name, "--results", first.results)
        assert code == 0 and json.loads(out)["implementation"] == name
    files[1].write_text(UNROLLED + "# edited\n")
    assert missing(one_case(**options)) == [ODD[1]]


def test_a_hidden_file_is_refused(one_case: MakePlan, tmp_path: Path) -> None:
    (tmp_path / ".mine.py").write_text(UNROLLED)
    with pytest.raises(ValueError, match="begins with a dot"):
        one_case(tmp_path / ".mine.py")
