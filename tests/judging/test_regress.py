"""The check on the golden cases: verdicts, known limitations, and any difference from `expected.csv`."""

import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import baselines
from analysis.checks.regress import Key, Unusable, Verdict, accept, differences, read_expected
from baselines import limitations
from experiments.__main__ import main
from experiments.checks import regress
from experiments.harness.experiment import Result
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Options
from experiments.harness.run import Plan
from experiments.harness.status import Expected, Stopped, Unavailable, Wrong
from experiments.judging.golden import files
from tests.conftest import IMPLEMENTATIONS
from tests.implementations import COMPILED

SAMPLE = ("cnn-k1", "running-k1", "tied-k3", "frozen-k1", "unused-k1", "tanh2-k0", "linear-k3-lr0", "apart-tanh2-k1")
ALL = [*IMPLEMENTATIONS, *baselines.misuses()]


def bench(name: str, golden: str, dtype: str = "float64") -> Bench:
    cases = regress.cases(Options("quick", "cpu", None, 1, None))
    (case,) = (case for case in cases if (case.name, case.dtype) == (golden, dtype))
    return Bench(case, name, None, None)


def run(b: Bench) -> Result:
    work = regress.measure(b)
    next(work)
    with pytest.raises(StopIteration) as end:
        next(work)
    result = end.value.value
    assert isinstance(result, Result)
    return result


def verdict(b: Bench) -> str:
    try:
        run(b)
    except Stopped as stopped:
        return stopped.status
    return "right"


@pytest.mark.parametrize("name", ALL)
def test_every_implementation_does_what_is_expected_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress, "conform", lambda *_: None)  # the next test's
    verdicts = read_expected(files.FOLDER / "expected.csv")
    for golden in (golden for golden in SAMPLE if Key(name, golden, "float64") in verdicts):
        assert verdict(bench(name, golden)) == verdicts[Key(name, golden, "float64")].verdict, golden


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in COMPILED)) for name in IMPLEMENTATIONS]
)
def test_every_implementation_keeps_every_term_of_the_contract(name: str) -> None:
    b = bench(name, "tanh2-k1-large-lr" if name in COMPILED else "relu1-k1")  # of those that both take
    b.case.params["thorough"] = True
    assert verdict(b) == "right"


def test_every_network_is_met_thoroughly_by_all_that_take_part_and_each_dtype_once() -> None:
    cases = regress.cases(Options("quick", "cpu", None, 1, None))
    networks = [(files.read(c.name).description, c.dtype) for c in cases if c.params.get("thorough")]
    assert all(networks.count(one) == 1 for one in networks)
    assert len(networks) == len({(str(files.read(c.name).description), c.dtype) for c in cases})
    taken = [c.name for c in cases if c.params.get("thorough") and c.name in regress.FOR_COMPILED]
    assert len(taken) == len({str(files.read(name).description) for name in regress.FOR_COMPILED}) * len(regress.DTYPES)


def test_expected_covers_every_implementation_case_and_dtype_and_names_nothing_wrong() -> None:
    verdicts = read_expected(files.FOLDER / "expected.csv")
    assert verdicts.keys() == {
        Key(name, case, dtype)
        for name in ALL
        for case in files.names()
        for dtype in regress.DTYPES
        if name not in COMPILED or case in regress.FOR_COMPILED
    }
    assert set(regress.FOR_COMPILED) < set(files.names())
    assert {value.verdict for value in verdicts.values()} == {"right", "expected", "unavailable"}
    assert all(bool(value.pointer) == (value.verdict == "expected") for value in verdicts.values())
    assert {value.pointer for value in verdicts.values()} - {""} == {
        f"{k.library} {k.pointer}" for k in limitations.KNOWN
    }


def test_misuses_take_part_here_only() -> None:
    assert not baselines.misuses().keys() & baselines.names().keys()
    assert {baselines.name_of(baselines.find(name)) for name in ALL} == set(ALL)
    for known in limitations.KNOWN:
        assert set(known.implementations) <= set(ALL)


def test_a_limitation_is_expected_only_where_it_is_known() -> None:
    with pytest.raises(Expected, match=r"^learn2learn issues 314 and 387: adapt\(\) ends in an UnboundLocalError"):
        run(bench("learn2learn", "unused-k1"))
    with pytest.raises(Expected, match="clones share their buffers") as shared:
        run(bench("learn2learn", "running-k1"))
    assert shared.value.row["error"] < 1e-13  # the gradient itself is right
    assert limitations.find("learn2learn", {"unused"}, "ValueError: something else") is None
    assert limitations.find("unrolled", {"unused"}, "UnboundLocalError: 'gradients'") is None
    assert limitations.find("learn2learn", {"running"}, "UnboundLocalError: 'gradients'") is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: model.out.bias.data.add_(1), "the call changed out.bias"),
        (lambda model: setattr(model.out.bias, "grad", torch.zeros(1).double()), "the call changed out.bias.grad"),
        (lambda model: model.norm1.running_mean.add_(1), "the call changed norm1.running_mean"),
        (lambda model: model.norm1.eval(), "the call changed the mode of norm1"),
        (lambda model: model.out.bias.requires_grad_(False), "the call changed out.bias.requires_grad"),
        (lambda model: model.eval(), "the call changed the mode of it, the mode of conv1 and 9 more"),
    ],
)
def test_a_call_that_leaves_the_model_changed_is_wrong(damage: Callable[[nn.Module], object], message: str) -> None:
    b = bench("unrolled", "running-k1")
    right = b.implementation

    class Damaging(right):  # type: ignore[misc,valid-type]
        def meta_gradient(self, prepared):  # type: ignore[no-untyped-def]
            result = super().meta_gradient(prepared)
            damage(self.spec.model)
            return result

    b.__dict__["implementation"] = Damaging
    with pytest.raises(Wrong, match=f"^{message}$"):
        run(b)


def test_what_cannot_be_judged_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="lost in rounding"):
        run(bench("reptile", "apart-tanh2-k1"))


def test_differences_in_either_direction() -> None:
    rows = {
        Key("a", "case", "float64"): Verdict("right"),
        Key("b", "case", "float64"): Verdict("expected", "b issue 7"),
    }
    assert list(differences(rows, rows, {})) == []
    worse = rows | {Key("a", "case", "float64"): Verdict("wrong")}
    reasons = {Key("a", "case", "float64"): "error 1"}
    assert list(differences(rows, worse, reasons)) == ["a on case in float64: wrong: error 1; expected right"]
    better = rows | {Key("b", "case", "float64"): Verdict("right")}
    assert list(differences(rows, better, {})) == [
        "b on case in float64: right; expected expected (b issue 7): if that is no mistake, accept with --accept"
    ]
    (missing,) = differences(rows, {Key("a", "case", "float64"): Verdict("right")}, {})
    assert missing == "b on case in float64: no verdict; expected expected (b issue 7)"
    (more,) = differences(rows, rows | {Key("a", "other", "float64"): Verdict("right")}, {})
    assert more.startswith("a on other in float64: right; nothing was expected of this case")
    (new,) = differences(rows, rows | {Key("c", "case", d): Verdict("right") for d in ("float64", "float32")}, {})
    assert new.startswith("c: new, 2 right; nothing was expected of it: accept with")


def test_expected_verdicts_survive_a_file(tmp_path: Path) -> None:
    file = tmp_path / "expected.csv"
    rows = {Key("a", "case", "float64"): Verdict("expected", 'a issues 1, 2 and "3"')}
    others = {Key("b", "case", "float32"): Verdict("right")}
    accept(file, rows, others)
    assert read_expected(file) == rows | others
    file.write_text("implementation,case\na,b\n")
    with pytest.raises(Unusable, match="cannot be read as a table"):
        read_expected(file)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """`maml-bench regress` on two golden cases with two implementations, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(regress, "names", lambda: ["unused-k1", "linear-k1"])

    def run_it(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["maml-bench", "regress", "--device", "cpu", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run_it


def test_the_command_from_end_to_end(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    some = ("--implementations", "learn2learn,unrolled", "--expected", "mine.csv")
    code, _, err = call(*some)
    assert code == 2
    assert err.strip() == "maml-bench: mine.csv is missing; --accept writes it"
    code, out, _ = call(*some, "--accept")
    assert (code, "8 verdicts accepted: mine.csv" in out) == (0, True)
    code, out, _ = call(*some)
    assert code == 0
    assert "8 verdicts as expected (6 right, 2 expected)" in out
    with (tmp_path / "results" / "tables" / "regress.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert sorted(row["verdict"] for row in rows) == ["expected"] * 2 + ["right"] * 6
    assert all(float(row["error"]) <= float(row["tolerance"]) for row in rows if row["verdict"] == "right")
    text = (tmp_path / "mine.csv").read_text()
    text = text.replace("unused-k1,float64,expected", "unused-k1,float64,right", 1)
    (tmp_path / "mine.csv").write_text(text.replace("linear-k1,float32,right", "linear-k1,float32,wrong", 1))
    code, out, _ = call(*some)
    assert code == 1
    output = " ".join(out.split())
    assert "learn2learn on unused-k1 in float64: expected: learn2learn issues 314 and 387: " in output
    assert "learn2learn on linear-k1 in float32: right; expected wrong: if that is no mistake, accept with" in output
    assert "2 differences from what is expected (6 right, 2 expected)" in output


def test_only_this_experiment_takes_misuses(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress, "names", lambda: ["linear-k1"])
    both = plan("regress", "metagradient")
    names = {name: {s for _, missing, _ in both.todo(name) for s in missing} for name in both.experiments}
    assert names == {"regress": set(ALL) - COMPILED, "metagradient": set(IMPLEMENTATIONS)}


def test_a_changed_golden_file_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = files.read("linear-k1")
    monkeypatch.setattr(regress, "FOLDER", tmp_path)
    monkeypatch.setattr(regress, "names", lambda: ["linear-k1"])
    options = Options("quick", "cpu", None, 1, None)
    (tmp_path / "linear-k1.json").write_text(kept.text())
    before = regress.cases(options)
    (tmp_path / "linear-k1.json").write_text(replace(kept, curvature=9.0).text())
    assert [c.params["sha256"] for c in regress.cases(options)] != [c.params["sha256"] for c in before]
