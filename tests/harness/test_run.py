"""Whole runs with real worker processes: resuming, statuses, round groups, and workers that misbehave."""

import json
from pathlib import Path

import pytest
import torch

from experiments import cost, metagradient
from experiments.harness.run import Plan
from tests.harness.runs import BODY, RIGHT, MakePlan, cells, mine

HEAD = """
import torch
from maml_bench import Baseline, MetaGradient, trainable

class Mine(Baseline):
    computes = "maml"
"""


def finished(plan: Plan) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in plan.store.cells.glob("*/*/*.json")}


def test_a_run_is_complete_and_a_second_one_measures_nothing(plan: MakePlan) -> None:
    first = plan("create_graph", "training", implementations=["unrolled", "fomaml"])
    first.run()
    assert first.statuses == {"ok": 1 + 2 * 2}
    before = finished(first)
    again = plan("create_graph", "training", implementations=["unrolled", "fomaml"])
    again.run()
    assert again.statuses == {}
    assert finished(again) == before
    training = cells(first, "training")
    assert len(training) == 4
    assert len({(c["case"]["dtype"], c["stream_digest"], c["init_digest"]) for c in training}) == 2
    assert all(c["init_digest"] and c["sources"]["experiments/training.py"] for c in training)
    assert not any("sources" in c and "experiments/cost.py" in c["sources"] for c in training)
    curve = training[0]["series"]["heldout"]
    assert curve["iteration"] == [0, 3, 6]
    assert len(training[0]["observations"]["query_loss"]) == 4


@pytest.mark.slow
def test_cost_measures_in_one_round_group_and_adds_later_ones_beside_the_references(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cost.PROCESSES, "quick", 2)
    first = plan("cost", implementations=["learn2learn"])
    first.run()
    assert {c["status"] for c in cells(first)} == {"ok"}
    (group,) = {c["round_group"] for c in cells(first)}
    for cell in cells(first):
        assert [len(samples) for samples in cell["samples"]["step_ms"]] == [2, 2]
        assert min(map(min, cell["samples"]["step_ms"])) > 0
        row = cell["rows"][0]
        assert row["peak_tensor_mib"] > 0
        assert row["peak_rss_mib"] >= row["resident_rss_mib"] > 50
        assert row["error_float64"] < 1e-12
        assert "peak_gpu_mib" not in row and "CUDA" in cell["empty"]["peak_gpu_mib"]
    monkeypatch.setitem(cost.PROCESSES, "quick", 1)  # what follows is about round groups
    file = mine(tmp_path, RIGHT)
    later = plan("cost", implementations=["learn2learn", file])
    later.run()
    added = [c for c in cells(later) if c["round_group"] != group]
    assert {(c["implementation"], c["reference_only"]) for c in added} == {("mine", False), ("learn2learn", True)}
    file.write_text(RIGHT + "# changed\n")
    changed = plan("cost", implementations=["learn2learn", file])
    changed.run()
    groups = {c["round_group"] for c in cells(changed)}
    assert len(groups) == 2 and group in groups  # the group of the replaced cell went with it
    assert changed.statuses == {"ok": 2}


@pytest.mark.slow
def test_a_deliberate_mistake_is_wrong_and_shows_no_timing(plan: MakePlan, tmp_path: Path) -> None:
    file = mine(
        tmp_path, "from baselines.first_order.fomaml import Fomaml\nclass Mine(Fomaml):\n    computes = 'maml'\n"
    )
    run = plan("cost", "training", implementations=["unrolled", file])
    run.run()
    wrong = [c for c in cells(run) if c["implementation"] == "mine"]
    assert {c["status"] for c in wrong} == {"wrong"} and len(wrong) == 3
    for cell in wrong:
        assert "float64 error" in cell["reason"] and "for maml" in cell["reason"]
        assert not cell["samples"] and not cell["series"] and not cell["observations"]
        assert set(cell["rows"][0]) == {"error_float64", "oracle"}
    assert {c["status"] for c in cells(run) if c["implementation"] == "unrolled"} == {"ok"}


MISBEHAVING = {
    "raises": (
        "raise ValueError('no\\nluck in /home/someone/secret/file.py')",
        "failed",
        "ValueError: no luck in …/file.py",
    ),
    "segfaults": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "killed by SIGSEGV"),
    "exits": ("import os; os._exit(7)", "failed", "exit code 7"),
    "cuda-memory": ("raise torch.OutOfMemoryError('CUDA out of memory. Tried')", "oom", "CUDA out of memory"),
    "memory": ("raise MemoryError", "oom", "no message"),
    "empty": ("return MetaGradient(None, {})", "wrong", "error inf"),
    "nothing": ("return None", "failed", "AssertionError"),
    "prints": ("print('rubbish' * 100000); raise KeyError('x')", "failed", "KeyError"),
}


@pytest.mark.slow
def test_each_misbehaving_implementation_is_one_row(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [mine(tmp_path, HEAD + BODY.format(body), name) for name, (body, _, _) in MISBEHAVING.items()]
    refusal = "    @classmethod\n    def unavailable(cls, spec): return 'not on | today'\n"
    files.append(mine(tmp_path, HEAD + refusal, "refuses"))
    monkeypatch.setattr(metagradient, "NETWORKS", {"tanh": metagradient.NETWORKS["tanh"]})
    monkeypatch.setattr(metagradient, "STEPS", (1,))
    monkeypatch.setattr(metagradient, "DTYPES", ("float64",))
    run = plan("metagradient", implementations=["unrolled", *files])
    run.run()
    found = {name: [c for c in cells(run) if c["implementation"] == name] for name in (*MISBEHAVING, "refuses")}
    expected = {name: (status, reason) for name, (_, status, reason) in MISBEHAVING.items()}
    for name, (status, reason) in (expected | {"refuses": ("unavailable", "not on | today")}).items():
        assert {c["status"] for c in found[name]} == {status}, name
        assert len(found[name]) == 1
        assert all(reason in c["reason"] and "\n" not in c["reason"] for c in found[name]), found[name][0]["reason"]
    assert {c["status"] for c in cells(run) if c["implementation"] == "unrolled"} == {"ok"}


@pytest.mark.slow
def test_a_repaired_file_is_measured_again(plan: MakePlan, tmp_path: Path) -> None:
    file = mine(tmp_path, HEAD + BODY.format("import os; os._exit(7)"))
    for text, status in ((None, "failed"), (RIGHT, "ok")):
        if text:
            file.write_text(text)
        run = plan("training", implementations=["unrolled", file])
        run.experiments = ["training"]
        run.run()
        assert {c["status"] for c in cells(run) if c["implementation"] == "mine"} == {status}


def test_divergence_is_a_status_with_its_iteration(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import training

    monkeypatch.setattr(training, "OUTER_LR", 1e30)
    run = plan("training", implementations=["unrolled"])
    run.run()
    assert {c["status"] for c in cells(run)} == {"diverged"}
    assert all("iteration" in c["reason"] and not c["series"] for c in cells(run))


def test_a_missing_library_is_a_row_while_the_rest_runs(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "higher.py").write_text("raise ImportError('no higher here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    run = plan("training", implementations=["higher", "unrolled"])
    run.run()
    found = {c["implementation"]: (c["status"], c["reason"]) for c in cells(run)}
    assert found["higher"] == ("unavailable", "ImportError at import: no higher here")
    assert found["unrolled"] == ("ok", "")


def test_damaged_cells_are_set_aside_and_measured_again(plan: MakePlan) -> None:
    first = plan("create_graph")
    first.run()
    (path,) = first.store.cells.glob("create_graph/*/*.json")
    whole = path.read_text()
    foreign = json.dumps(json.loads(whole) | {"format": 99})
    by_hand = whole.replace('"status": "ok"', '"status": "wrong"')
    reasons = {
        whole[:100]: "Unterminated",
        "[]": "missing",
        foreign: "format 99",
        "\x00": "Expecting",
        by_hand: "it was changed after it was written",
    }
    for damaged, why in reasons.items():
        path.write_text(damaged)
        again = plan("create_graph")
        assert [missing for _, missing, _ in again.todo("create_graph")] == [["pytorch"]]
        (line,) = again.store.warnings
        assert "set aside" in line and f"{path.stem}.damaged" in line and why in line
        assert not path.exists() and path.with_suffix(".damaged").read_text() == damaged
    again.run()
    assert again.statuses == {"ok": 1}
    assert json.loads(path.read_text())["rows"] == json.loads(whole)["rows"]


def test_changed_sources_are_measured_again(plan: MakePlan) -> None:
    first = plan("create_graph")
    first.run()
    path = next(first.store.cells.glob("create_graph/*/*.json"))
    cell = first.store.read(path)
    assert cell is not None
    cell.sources["experiments/create_graph.py"] = "0" * 64
    first.store.write_cell(path, cell)
    again = plan("create_graph")
    assert again.outdated() == [str(path.parent.relative_to(again.results))]
    again.run()
    assert again.statuses == {"ok": 1}
    assert again.outdated() == []


def test_the_sources_of_a_cell_are_those_of_its_own_case_whatever_its_process_has_measured_before(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.harness.processes.schedule.cores", lambda: [0])  # one process for all
    only = [f"{network}-steps0" for network in ("linear", "tanh")]
    first = plan("metagradient", implementations=["unrolled"], cases=only)
    first.run()
    families = {
        c["case"]["name"]: {
            name for name in ("linear", "sinusoid") if f"experiments/problems/tasks/{name}.py" in c["sources"]
        }
        for c in cells(first)
    }
    assert families == {"linear-steps0": {"linear"}, "tanh-steps0": {"sinusoid"}}


@pytest.mark.slow
def test_fresh_measures_again_and_keeps_what_others_are_compared_with(plan: MakePlan) -> None:
    plan("cost", implementations=["learn2learn", "unrolled"]).run()
    again = plan("cost", implementations=["learn2learn"], fresh=True)
    again.run()
    assert again.statuses == {"ok": 1}
    found = [(c["implementation"], c["reference_only"]) for c in sorted(cells(again), key=lambda c: c["round_group"])]
    assert found == [("learn2learn", True), ("unrolled", False), ("learn2learn", False)]
    both = plan("cost", implementations=["learn2learn", "unrolled"], fresh=True)
    both.run()
    assert [c["reference_only"] for c in cells(both)] == [False, False]


@pytest.mark.slow
def test_a_model_of_ones_own_is_judged_by_double_backward_beside_the_built_in_one(
    plan: MakePlan, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(1, 6), nn.LayerNorm(6), nn.Softplus(), nn.Linear(6, 1))\n"
    )
    plan("training", implementations=["unrolled"]).run()
    run = plan("training", implementations=["unrolled", "higher", "notebook"], model=f"{file}:make")
    run.run()
    own = {c["implementation"]: c for c in cells(run) if "net-make" in c["case"]["name"]}
    assert {name: c["status"] for name, c in own.items()} == {
        "unrolled": "ok",
        "higher": "ok",
        "notebook": "unavailable",
    }
    assert own["higher"]["rows"][0]["oracle"] == "double backward"
    assert "LayerNorm" in own["notebook"]["reason"]
    assert own["unrolled"]["case"]["params"]["model"]["file"] == "net.py"
    assert len(cells(run)) == 2 * 4
    assert str(tmp_path) not in json.dumps(cells(run))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_cuda_fills_the_memory_columns_and_sees_the_same_draws(plan: MakePlan) -> None:
    run = plan("cost", "training", implementations=["unrolled", "learn2learn"], device="cuda")
    run.run()
    assert set(run.statuses) == {"ok"}
    for cell in cells(run, "cost"):
        row = cell["rows"][0]
        assert row["peak_gpu_mib"] > row["resident_gpu_mib"] > 0
        assert row["peak_gpu_reserved_mib"] >= row["peak_gpu_mib"]
        assert row["peak_tensor_mib"] > 0
    on_gpu = {c["stream_digest"] for c in cells(run, "training")}
    on_cpu = plan("training", implementations=["unrolled"])
    on_cpu.run()
    assert {c["stream_digest"] for c in cells(on_cpu, "training")} == on_gpu
