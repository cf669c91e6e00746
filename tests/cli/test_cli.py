"""The command line as a user meets it: what it prints, what it refuses, and how."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.__main__ import app
from experiments.harness import experiment
from tests.conftest import Call


@pytest.mark.parametrize(
    ("arguments", "wrong", "allowed"),
    [
        (["run", "nonsense"], "unknown experiment 'nonsense'", "cost, create_graph, fewshot"),
        (["run", "cost", "--implementations", "unroled"], "unknown implementation 'unroled'", "learn2learn, "),
        (["run", "cost", "--profile", "huge"], "unknown profile 'huge'", "quick, full"),
        (["run", "cost", "--device", "tpu"], "unknown device 'tpu'", "auto, cpu, cuda"),
        (["run", "cost", "--seeds", "1,x"], "--seeds 1,x", "whole numbers"),
        (["run", "cost", "--seeds", "-1"], "--seeds -1", "0 or more"),
        (["run", "cost", "--threads", "0"], "--threads 0", "1 to"),
        (["run", "cost", "--timeout", "0"], "--timeout 0", "positive"),
        (["run", "cost", "--implementations", ""], "--implementations lists nothing", "all, adjoint, "),
        (["run", "cost", "--implementations", "unrolled.py"], "built-in implementation is named unrolled", "rename"),
        (["run", "cost", "--implementations", "all,broken.py"], "--implementations broken.py", "NameError"),
        (["load", "--implementations", "empty.py"], "--implementations empty.py", "0 subclasses"),
        (["regress", "--implementations", "all,absent.py"], "--implementations absent.py", "no such Python file"),
        (["run", "cost", "--model", "net.py"], "--model net.py", "FILE.py:FACTORY"),
        (["run", "cost", "--model", "net.py:absent"], "--model net.py:absent", "has no attribute 'absent'"),
        (["run", "cost", "--model", "net.py:number"], "--model net.py:number", "not a torch.nn.Module"),
        (["run", "cost", "--model", "net.py:wide"], "--model net.py:wide", "(points, 1)"),
        (["run", "cost", "--results", "file"], "the results folder file cannot be written", ""),
        (["run", "cost", "--cases", "nonsense*"], "--cases nonsense*: no such case", "tasks10-steps1-shots5-width40"),
        (["render", "--results", "nowhere"], "nothing to render in nowhere", "maml-bench run"),
        (["report", "--results", "nowhere"], "nothing to render in nowhere", "maml-bench run"),
        (["compare", "nowhere", "nowhere"], "nowhere is no results folder", "no folder named cells"),
        (["show", "x", "--results", "nowhere"], "'x' is no cell in nowhere", "none yet"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(
    call: Call, tmp_path: Path, arguments: list[str], wrong: str, allowed: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "unrolled.py").write_text("")
    (tmp_path / "broken.py").write_text("x = undefined\n")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef number(): return 3\ndef wide(): return nn.Linear(1, 2)\n"
    )
    code, out, err = call(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert wrong in err and allowed in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "results" / "cells" / "cost").exists()


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="there is a CUDA device here")
def test_cuda_where_there_is_none_is_refused(call: Call) -> None:
    code, _, err = call("run", "cost", "--device", "cuda")
    assert code == 2
    assert "--device cuda: PyTorch finds no CUDA device here" in err


def test_an_unwritable_results_folder_is_refused(call: Call, tmp_path: Path) -> None:
    if os.geteuid() == 0:  # root may write anywhere but where the system keeps its own
        folder = Path("/proc/results")
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        folder = tmp_path / "locked" / "results"
    code, _, err = call("run", "create_graph", "--results", folder)
    assert code == 2
    assert f"the results folder {folder} cannot be written" in err


def test_run_render_and_show_from_end_to_end(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("run", "create_graph", "--results", "here", "--dry-run")
    assert code == 0
    assert "to measure: pytorch; there already: nothing" in out
    code, out, _ = call("run", "create_graph", "--results", "here")
    assert code == 0
    assert "measured now: 1 ok" in out
    code, out, _ = call("run", "create_graph", "--results", "here")
    assert "nothing, all of it was there" in out
    code, out, _ = call("render", "--results", "here")
    assert code == 0
    assert "create_graph: 1 cell: 1 ok" in out
    table = (tmp_path / "here" / "tables" / "create_graph.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| yes" in line]
    obtained = {(row[1], row[2]): (row[3], row[4]) for row in rows}
    assert obtained["backward", "x.grad"] == ("10, 20", "10, 20")
    assert obtained["backward", "z.grad"] == ("None", "None")
    assert obtained["cleared through .data", "y.grad"] == ("16, 2", "16, 2")
    assert obtained["cleared through .data", "e after clearing"] == ("0", "0")
    assert obtained["not cleared", "y.grad"] == ("46, 12", "46, 12")
    assert obtained["the trap: recorded zero\\_()", "x.grad"] == ("0, 0", "0, 0")
    assert len(rows) == 3 + 4 * 4
    code, out, _ = call("show", "create_graph/demonstrations/pytorch", "--results", "here")
    assert code == 0
    assert '"status": "ok"' in out
    code, out, _ = call("report", "--results", "here")
    assert code == 0
    assert "report: here/report.html" in out
    code, out, _ = call("compare", "here", "here", "--all")
    assert code == 0
    assert "1 same" in out
    code, _, err = call("show", "nothing-like-it", "--results", "here")
    assert code == 2
    assert "is no cell" in err


def test_list_names_everything(call: Call) -> None:
    code, out, _ = call("list")
    assert code == 0
    for word in ("notebook", "learn2learn 0.2.0", "higher 0.2.1", "fomaml", "metagradient", "overhead"):
        assert word in out
    name, questions = "", dict[str, str]()
    for line in out.partition("Experiments")[2].splitlines():
        first, *rest = (cell.strip() for cell in line.strip("│").split("│"))
        if rest:  # a question may take several lines, of which the first has the name
            name = first or name
            questions[name] = f"{questions.get(name, '')} {rest[0]}"
    assert list(questions) == experiment.names()
    for name, question in questions.items():
        assert ("(on request only)" in question) is not experiment.load(name).by_default


@pytest.mark.parametrize("width", [80, 120])
def test_help_is_not_cut_and_names_no_path(call: Call, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = call("--help")
    assert code == 0
    summaries = out.partition("Commands:")[2].strip().splitlines()
    assert len(summaries) == len(app.registered_commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in summaries), summaries
    for command in (line.split()[0] for line in summaries):
        assert sys.prefix not in "".join(call(command, "--help")[1].split())


def test_ctrl_c_keeps_what_is_finished_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "run", "metagradient", "--results", str(tmp_path)]

    def from_a_terminal() -> None:
        """Whoever starts the tests in the background of a script has Ctrl-C ignored in all that they start."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=from_a_terminal
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("cells/metagradient/*/*.json")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        said, _ = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "the same command goes on from there" in said and "Traceback" not in said
    psutil.wait_procs(children, timeout=2)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
