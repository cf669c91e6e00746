"""Published results: the tasks, weights and recipes that protocols ask for, and how adapted models are looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.contract import InnerLoop
from experiments import papers, published
from experiments.harness.experiment import Result
from experiments.harness.measure.adaptation import Adaptation, heldout_losses
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options
from experiments.harness.status import Unavailable, Wrong
from experiments.problems.networks.initial import FAN_IN, TRUNCATED, initialise
from experiments.problems.networks.mlp import mlp
from experiments.problems.tasks import family
from experiments.problems.tasks.stream import Stream
from tests.conftest import bench

TINY = {"iterations": 4, "share": 2e-4, "heldout_tasks": 30, "identity": 3, "tasks": 3}


def case(protocol: str, **changes: Any) -> Case:
    """Return the first case of a protocol's quick profile, made smaller."""
    cases = published.cases(Options("quick", "cpu", (0,), 1, None))
    first = next(case for case in cases if case.params["protocol"] == protocol)
    return Case(first.experiment, first.name, first.params.extended(**(TINY | changes)), "cpu", "float32", 0, 1)


def measured(name: str, protocol: str = "finn", **changes: Any) -> tuple[Bench, Result]:
    b = Bench(case(protocol, **changes), name, None, None)
    work = published.measure(b)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return b, end.value


def test_the_oracle_s_further_inputs_are_amplitude_and_phase_of_the_very_same_draws() -> None:
    plain, known = (Stream(family(name), 3, 4, 5, 6) for name in ("sinusoid", "sinusoid_known_task"))
    p, k = plain.batch(7), known.batch(7)
    assert plain.digest == known.digest
    for x, y, x_known, y_known in ((p.support_x, p.support_y, k.support_x, k.support_y), (*p[2:], *k[2:])):
        assert np.array_equal(x, x_known[..., :1]) and np.array_equal(y, y_known)
        amplitude, phase = x_known[..., 1:2], x_known[..., 2:]
        assert np.allclose(y, amplitude * np.sin(x - phase), rtol=1e-14)


def test_frequencies_are_of_the_paper_s_range() -> None:
    tasks = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    x, y = family("sinusoid_frequency").points(tasks, np.full((2, 1, 1), 0.75))
    assert x.ravel().tolist() == [2.5, 2.5]
    assert y.ravel() == pytest.approx([0.1 * np.sin(0.8 * 2.5), 5.0 * np.sin(1.2 * 2.5 + np.pi)])


def test_truncated_normal_weights_are_cut_off_and_biases_zero() -> None:
    models = [mlp(1, 2, 40, "relu").double() for _ in range(3)]
    digests = [initialise(m, 1, scheme) for m, scheme in zip(models, (TRUNCATED, TRUNCATED, FAN_IN), strict=True)]
    assert digests[0] == digests[1] != digests[2]
    weights = torch.cat([p.flatten() for name, p in models[0].named_parameters() if name.endswith("weight")])
    assert weights.abs().max() <= 0.02
    assert weights.std().item() == pytest.approx(0.0088, rel=0.05)  # of a normal cut off at two standard deviations
    assert not any(p.any() for name, p in models[0].named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_adaptation_in_chunks_is_what_the_plain_loop_gives(steps: int) -> None:
    b = bench(inner_steps=steps, tasks=7)
    model, batch, inner = b.model(torch.float64), b.batch(0), InnerLoop(0.1, steps)
    adaptation = Adaptation(model, b.loss, inner)
    losses = adaptation.losses(batch, together=3)
    before, after = heldout_losses(model, b.loss, inner, batch)
    assert losses.shape == (steps + 1, 7)
    torch.testing.assert_close(losses[0], before, rtol=1e-12, atol=0)
    torch.testing.assert_close(losses[-1], after, rtol=1e-12, atol=0)
    predicted = adaptation.predictions(batch.support_x[2], batch.support_y[2], batch.query_x[2])
    single = torch.stack([b.loss(p, batch.query_y[2]) for p in predicted])
    torch.testing.assert_close(single, losses[:, 2], rtol=1e-12, atol=0)


def test_every_method_is_trained_and_tested_on_the_same_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "TUNING_TASKS", 20)
    results = {name: measured(name) for name in published.METHODS}
    assert len({b.stream_digest for b, _ in results.values()}) == 1
    assert len({b.init_digest for b, _ in results.values()}) == 1
    for name, (_, result) in results.items():
        assert result.rows is not None
        assert [(r["test_shots"], r["steps"]) for r in result.rows] == [(n, k) for n in (5, 10, 20) for k in (0, 1, 10)]
        assert all(np.isfinite(row["loss"]) and row["diverged"] == 0 for row in result.rows), name
        assert len(result.series["adaptation_5"]["loss"]) == 11
    alphas = {name: {row["alpha"] for row in result.rows or ()} for name, (_, result) in results.items()}
    assert alphas["compiled"] == {0.01} and alphas["reptile"] == {0.02} and alphas["oracle"] == {0.0}
    assert alphas["pretraining-compiled"] <= set(published.GRID)
    assert results["compiled"][1].rows[0]["identity"] < 1e-9


def test_tasks_that_diverge_are_counted_and_move_no_median() -> None:
    row = published.summary(torch.tensor([0.1, 0.2, 0.3, torch.inf, torch.nan]))
    assert row["diverged"] == 2 and row["loss_median"] == pytest.approx(0.3)
    assert not np.isfinite(row["loss"])


def test_training_that_is_not_that_of_the_peers_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PEERS", ("fomaml",))
    with pytest.raises(Wrong, match="differ by"):
        measured("compiled")


def test_published_numbers_stand_beside_the_same_setting_only() -> None:
    params = case("meta-sgd").params
    rows = [published.published(params, "maml", shots, 1) for shots in published.SHOTS]
    assert [row["published"] for row in rows] == [1.13, 0.85, 0.71]
    assert "confirmed" in rows[0]["source"] and "second-hand" in rows[1]["source"]
    assert "published" not in published.published(params, "fomaml", 5, 1)
    assert "published" not in published.published(case("finn").params, "maml", 5, 1)
    with pytest.raises(Unavailable, match="no oracle for the tasks of sinusoid_frequency"):
        measured("oracle", "meta-sgd")


def test_reptile_moves_towards_the_adapted_weights_and_stops_at_the_end() -> None:
    """With one iteration ε is 0.1: θ moves a tenth of the way that five steps of plain gradient descent go."""
    from experiments.papers.recipes import reptile

    b = Bench(case("finn", share=1 / reptile.ITERATIONS), "reptile", None, None)
    work = reptile.train(b)
    try:
        while True:
            next(work)
    except StopIteration as end:
        trained = end.value.model
    start, walked = b.model(torch.float32), b.model(torch.float32)
    batch = b.tensors(Stream(family("sinusoid"), 0, 1, reptile.POINTS, 0).batch(0))
    for i in range(0, reptile.POINTS, reptile.MINIBATCH):
        part = slice(i, i + reptile.MINIBATCH)
        reptile.step(walked, b.loss(walked(batch.support_x[0, part]), batch.support_y[0, part]))
    for p, q, moved in zip(start.parameters(), walked.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(moved, p + 0.1 * (q - p))


def test_every_published_number_says_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = papers.figures()
    assert figures
    assert all(figure.source and figure.certainty in papers.CERTAINTIES for figure in figures)
    assert len({figure[:5] for figure in figures}) == len(figures)
    damaged = tmp_path / "figures.csv"
    damaged.write_text(papers.FILE.read_text().replace("second-hand", "sure"))
    monkeypatch.setattr(papers, "FILE", damaged)
    with pytest.raises(ValueError, match="sure is none of confirmed, second-hand"):
        papers.figures()
