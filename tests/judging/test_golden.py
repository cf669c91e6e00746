"""The committed golden values are what the oracles give today, and tell MAML from its approximations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.judging.golden import __main__ as golden
from experiments.judging.golden import files
from experiments.judging.golden.build import EPS, Rejected, build, changes, inputs, kappas, results
from experiments.judging.golden.cases import CASES, GoldenCase
from experiments.judging.verify import error

BY_NAME = {case.name: case for case in CASES}


def test_every_case_has_a_file_and_every_file_a_case() -> None:
    assert files.names() == sorted(BY_NAME)
    assert len(BY_NAME) == len(CASES)
    sizes = [(files.FOLDER / f"{name}.json").stat().st_size for name in BY_NAME]
    assert max(sizes) < 200_000 and sum(sizes) < 2_000_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rebuilt_values_are_the_same(case: GoldenCase) -> None:
    new = inputs(case)
    new = replace(new, meta_gradients=results(new, case.computes))
    assert changes(files.read(case.name), new) == []


@pytest.mark.parametrize("name", ["linear-k3", "tanh2-k3", "unused-k1", "cnn-k1"])
def test_the_whole_file_is_the_same(name: str) -> None:
    """κ too, which takes longer."""
    assert changes(files.read(name), build(BY_NAME[name])) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_first_order_is_not_taken_for_second_order(case: GoldenCase) -> None:
    kept = files.read(case.name)
    distance = error(kept.meta_gradients["fomaml"], kept.meta_gradients["maml"])
    if case.steps == 0 or kept.lr == 0:
        assert distance == 0
    else:
        for dtype, eps in EPS.items():
            assert distance > 10 * max(1e-12, 100 * kept.kappa["maml"][dtype] * eps)


def test_a_large_step_is_as_large_as_wanted() -> None:
    for case in CASES:
        kept = files.read(case.name)
        assert case.curvature in (None, kept.curvature)
        assert all(np.array_equal(value, value.astype(np.float32)) for value in (*kept.batch, *kept.weights.values()))


def test_a_change_is_told_from_rounding() -> None:
    kept = files.read("tanh2-k3")
    nudged = {name: g * (1 + 1e-15) for name, g in kept.meta_gradients["maml"].items()}
    assert changes(kept, replace(kept, meta_gradients=kept.meta_gradients | {"maml": nudged})) == []
    moved = {name: g * (1 + 1e-10) for name, g in kept.meta_gradients["maml"].items()}
    assert changes(kept, replace(kept, meta_gradients=kept.meta_gradients | {"maml": moved})) == ["maml by 1e-10"]
    x = kept.batch.support_x.copy()
    x[0, 0, 0] = np.nextafter(x[0, 0, 0], 9)
    assert changes(kept, replace(kept, batch=kept.batch._replace(support_x=x))) == ["points"]
    loose = kept.kappa | {"maml": {"float64": 1e3, "float32": kept.kappa["maml"]["float32"]}}
    assert "κ of maml in float64" in changes(kept, replace(kept, kappa=loose))[0]


def test_a_case_that_cannot_be_judged_is_rejected() -> None:
    large = replace(BY_NAME["apart-tanh2-k1"], computes=("reptile",))
    with pytest.raises(Rejected, match=r"ill-conditioned for reptile in float64 \(κ = "):
        kappas(inputs(large), ("reptile",))
    flat = inputs(BY_NAME["relu1-k1"])
    with pytest.raises(Rejected, match="from its kink, which float64 may cross"):
        results(replace(flat, weights={name: value * 0 for name, value in flat.weights.items()}))


def test_make_golden_writes_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(golden, "CASES", (BY_NAME["linear-k1"], BY_NAME["linear-k2"]))
    assert golden.main(tmp_path) == 0
    first = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert changes(files.read("linear-k1"), files.read("linear-k1", tmp_path)) == []  # but for this machine's last bits
    (tmp_path / "linear-k1.json").write_text("{")
    (tmp_path / "stale.json").write_text("{}")
    capsys.readouterr()
    assert golden.main(tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  1/2  linear-k1: written: its file was damaged",
        "  2/2  linear-k2: as before",
        "stale: no case any more, removed",
    ]
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == first
    monkeypatch.setattr(golden, "CASES", (replace(BY_NAME["apart-tanh2-k1"], computes=("reptile",)),))
    assert golden.main(tmp_path) == 1
    assert "rejected: it is ill-conditioned" in capsys.readouterr().out
