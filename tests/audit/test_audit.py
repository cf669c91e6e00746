"""The audit on the command line: what it says, its exit codes, and what it does with files that cannot be used."""

import ast
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.audit.catalogue import EXPLANATIONS
from experiments.audit.session import WORKER
from experiments.audit.worker import ARGUMENTS, RECORDER
from experiments.judging.golden import files
from tests.mutants import Mutant, mutants, right_ones, unusable_ones
from tests.mutants.__main__ import RANDOM_MODELS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "audit"
EXAMPLES = sorted(DOCS.glob("*.py"))
FIRST_ORDER = (DOCS / "plain_pytorch.py").read_text().replace("create_graph=True)", "create_graph=False)")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", "audit", *arguments]
    return subprocess.run(command, cwd=cwd or ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.stem)
def test_the_worked_examples_are_right(file: Path) -> None:
    done = run(f"{file}:meta_step")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "second-order MAML" in done.stdout.splitlines()[0]


def test_there_is_an_example_for_each_way_of_writing_it() -> None:
    assert {f.stem for f in EXAMPLES} == {"plain_pytorch", "with_higher", "with_learn2learn", "with_torch_func"}
    page = (ROOT / "docs" / "audit.md").read_text()
    assert all(f"audit/{f.name}" in page for f in EXAMPLES)


def test_first_order_code_is_told_and_exit_codes_follow_what_is_expected(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(FIRST_ORDER)
    done = run(f"{file}:meta_step")
    assert done.returncode == 1
    assert f"{file}:meta_step: first-order MAML (FOMAML)" in done.stdout
    assert "expected: second-order MAML" in done.stdout
    assert "first-order: it is first-order" in done.stdout
    done = run(f"{file}:meta_step", "--expect", "fomaml", "--format", "json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert list(report) == ["verdict", "diagnosis", "explanation", "notes", "evidence"]
    assert (report["verdict"], report["diagnosis"]) == ("first-order MAML (FOMAML)", ["first-order"])
    assert max(report["evidence"]["errors"]["fomaml"].values()) < 1e-12


ONE_STEP = """
import torch
from torch.func import functional_call


def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):
    rates = [inner_lr]  # a rate for every step was meant
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query):
        fast = dict(model.named_parameters())
        for k in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - rates[k] * g for (name, w), g in zip(fast.items(), grads)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()
"""


def test_what_raises_in_ordinary_calls_is_not_right_unless_it_is_asked_for_other_calls_only(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(ONE_STEP)
    done = run(f"{file}:meta_step", "--format", "json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["verdict"], report["diagnosis"]) == ("wrong", ["raises"])
    calls = " with 3 tasks, inner_lr=0.3, inner_steps=3 and in 13 more calls; --inner-steps 1 asks for that number"
    assert f"IndexError: list index out of range (line 14 of theirs.py){calls}" in report["explanation"]
    assert len(report["evidence"]["raised"]) == 15
    done = run(f"{file}:meta_step", "--inner-steps", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    note = "steps-restricted: it was judged for K = 1 only, as asked; these mistakes could not show: inner-steps"
    assert note in " ".join(done.stdout.split())


def test_every_exception_is_shown_with_its_call_where_no_call_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(
        "def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):\n"
        "    if inner_steps != 1:\n"
        "        raise ValueError('one step only')\n"
        "    raise KeyError('the bug')\n"
    )
    done = run(f"{file}:meta_step")
    assert done.returncode == 2
    assert (
        "ValueError: one step only (line 3 of theirs.py), in a call with 3 tasks, inner_lr=0.3, inner_steps=3"
        in done.stderr
    )
    assert (
        "KeyError: 'the bug' (line 4 of theirs.py), in a call with 3 tasks, inner_lr=0.3, inner_steps=1" in done.stderr
    )
    assert "linear layers" not in done.stderr
    assert "KeyError" in run(f"{file}:meta_step", "--inner-steps", "1").stderr


def test_packages_of_the_users_own_do_not_collide_with_ours(tmp_path: Path) -> None:
    for name in ("experiments", "analysis", "baselines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    (tmp_path / "probes.py").write_text("THEIRS = True\n")
    file = tmp_path / "worker.py"
    checks = "".join(f"import {name}\nassert {name}.THEIRS\n" for name in ("experiments", "analysis", "probes"))
    file.write_text(checks + (DOCS / "plain_pytorch.py").read_text())
    done = run(f"{file}:meta_step", "--timeout", "30")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_worker_stands_alone() -> None:
    modules = set()
    files = (WORKER, WORKER.with_name(RECORDER), WORKER.with_name(ARGUMENTS))
    for node in [n for file in files for n in ast.walk(ast.parse(file.read_text()))]:
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
    assert modules - set(sys.stdlib_module_names) == {"torch"}


BAD = {
    "no colon": (["theirs.py"], "it has to be FILE.py:FUNCTION"),
    "no file": (["missing.py:meta_step"], "there is no Python file missing.py"),
    "no Python": (["notes.txt:meta_step"], "there is no Python file notes.txt"),
    "no function": (["theirs.py:meta_stp"], "there is no meta_stp in it; it defines: meta_step"),
    "no callable": (["theirs.py:Pair"], "Pair"),
    "syntax": (["broken.py:meta_step"], "SyntaxError: .* (line 1 of broken.py)"),
    "import": (["needs.py:meta_step"], "ModuleNotFoundError: No module named 'nowhere' (line 1 of needs.py)"),
    "expect": (["theirs.py:meta_step", "--expect", "mam"], "--expect mam: allowed are maml, fomaml, reptile"),
    "format": (["theirs.py:meta_step", "--format", "xml"], "--format xml: allowed are text, json"),
    "a method": (["theirs.py:MAML.step"], "MAML.step is not the name of a function; FILE.py:FUNCTION can be audited"),
    "steps": (
        ["theirs.py:meta_step", "--inner-steps", "0"],
        "--inner-steps 0: it has to be a positive number of steps",
    ),
    "timeout": (["theirs.py:meta_step", "--timeout", "0"], "--timeout 0: it has to be a positive number of seconds"),
    "python": (["theirs.py:meta_step", "--python", "nosuch"], "--python nosuch: there is no such interpreter"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(FIRST_ORDER)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "broken.py").write_text("def meta_step(:\n")
    (tmp_path / "needs.py").write_text("import nowhere\n")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), line), line


REFUSALS = {
    "raises": r"raised \w+Error: .* \(line \d+ of unusable.py\)",
    "exits": "raised SystemExit|ended with exit code",
    "crashes": "killed by SIGSEGV",
    "hangs": "longer than 3 s",
    "nonsense": "returned str",
    "second": r"raised RuntimeError: .* in its second call, which is like one that it answered \(3 tasks, inner_lr=0.3",
    "images": r"raised RuntimeError: .* input to conv2d.*the audit's networks are of linear layers",
    "signature": "another signature than",
}


WAIT = ("leaves_a_grandchild", "never_ends", "sleeps")  # each for the whole limit


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(m, marks=[pytest.mark.slow] * (m.function in WAIT)) for m in unusable_ones()],
    ids=lambda m: m.function,
)
def test_what_cannot_be_audited_is_refused_and_leaves_nothing_running(mutant: Mutant) -> None:
    done = run(f"{mutant.file}:{mutant.function}", "--timeout", "3", "--format", "json")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    (kind,) = mutant.expected
    assert re.search(REFUSALS[kind], line), line
    assert len(line) < 900
    assert json.loads(done.stdout)["verdict"] == "unusable"
    deadline = time.monotonic() + 5
    while left := [p for p in psutil.process_iter(["cmdline"]) if mutant.function in str(p.info["cmdline"])]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_the_readme_shows_what_the_audit_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    example = re.search(r"<!-- example: my_maml.py -->\n```python\n(.*?)```\n\n```console\n(.*?)```", readme, re.DOTALL)
    assert example is not None
    (tmp_path / "my_maml.py").write_text(example[1])
    command, *shown = example[2].strip().splitlines()
    assert command == "$ maml-bench audit my_maml.py:meta_step"
    done = run("my_maml.py:meta_step", cwd=tmp_path)
    assert done.returncode == 1
    assert [line.rstrip() for line in done.stdout.splitlines()][: len(shown)] == shown


def test_the_documentation_counts_mistakes_and_golden_cases_as_they_are() -> None:
    audit, method = (" ".join((ROOT / "docs" / page).read_text().split()) for page in ("audit.md", "method.md"))
    assert f"knows {len(EXPLANATIONS) - 2} mistakes" in audit
    assert f"{len(mutants())} deliberate mistakes" in audit
    assert f"{len(right_ones())} right functions" in audit
    assert f"on {RANDOM_MODELS} random models" in audit
    assert f"holds {len(files.names())} cases" in method


def test_every_identifier_is_explained_in_the_documentation() -> None:
    page = (ROOT / "docs" / "audit.md").read_text()
    named = set(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE))
    code = "".join(file.read_text() for file in (ROOT / "experiments" / "audit").glob("*.py"))
    notes = set(re.findall(r'Remark\("([a-z-]+)"', code)) | set(re.findall(r'\("([a-z-]+)", "a call', code))
    assert named == EXPLANATIONS.keys() | notes
