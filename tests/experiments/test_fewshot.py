"""Few-shot classification: episodes and their images, and the experiment on small ones."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.contract import InnerLoop
from experiments import fewshot
from experiments.harness.experiment import Result
from experiments.harness.measure.adaptation import Adaptation
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options, Parameters
from experiments.harness.status import Unavailable
from experiments.papers.recipes import accuracy, adam_images, reptile_images
from experiments.problems.networks.cnn import cnn
from experiments.problems.networks.losses import LOSSES
from experiments.problems.tasks import digits, glyphs
from experiments.problems.tasks.episodes import Classes, Episodes

FAMILIES: list[Classes] = [glyphs.FAMILY, digits.FAMILY]


def episodes(family: Classes = digits.FAMILY, seed: int = 0, purpose: str = "train", **changes: int) -> Episodes:
    """Two meta-batches' worth of 5-way episodes."""
    sizes = {"tasks": 3, "ways": 5, "shots": 2, "queries": 4} | changes
    return Episodes(family, seed, purpose=purpose, **sizes)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_episodes_are_a_function_of_seed_and_index(family: Classes) -> None:
    one, other = episodes(family), episodes(family)
    batch = one.batch(3)
    pixels = family.side**2
    assert [part.shape for part in batch] == [(3, 10, pixels), (3, 10, 5), (3, 20, pixels), (3, 20, 5)]
    other.batch(0)
    assert all(np.array_equal(a, b) for a, b in zip(batch, other.batch(3), strict=True))
    assert one.digest != other.digest != episodes(family).digest
    assert not np.array_equal(batch.support_x, episodes(family, seed=1).batch(3).support_x)
    assert batch.support_x.min() >= 0 and batch.support_x.max() <= 1
    assert batch.support_y.argmax(-1).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]] * 3
    assert (batch.query_y.sum(-1) == 1).all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_class_is_both_trained_and_tested_and_no_image_both_learned_and_asked(family: Classes) -> None:
    train, test = (set(family.split(name).tolist()) for name in ("train", "test"))
    assert train and test and not train & test
    assert set(episodes(family, purpose="heldout").classes) == test
    batch = episodes(family).batch(0)
    for support, query in zip(batch.support_x, batch.query_x, strict=True):
        together = np.concatenate([support, query])
        assert len(np.unique(together, axis=0)) == len(together)


def test_glyphs_are_many_classes_that_can_be_told_apart_and_vary() -> None:
    assert sum(len(glyphs.FAMILY.split(name)) for name in ("train", "validation", "test")) >= 1600
    batch = episodes(glyphs.FAMILY, tasks=40, shots=5).batch(0)
    means = batch.support_x.reshape(40, 5, 5, -1).mean(2)  # (tasks, ways, pixels)
    distances = ((batch.query_x[:, :, None] - means[:, None]) ** 2).sum(-1)
    accuracy = (distances.argmin(-1) == batch.query_y.argmax(-1)).mean()
    assert 0.5 < accuracy < 0.99  # chance is 0.2


def test_too_few_classes_or_images_are_named() -> None:
    with pytest.raises(ValueError, match="6 ways are too many: digits has 5 test classes"):
        episodes(ways=6, purpose="heldout")
    with pytest.raises(ValueError, match="200 images of a class are too many: there are 174"):
        episodes(shots=100, queries=100).batch(0)


def test_a_query_image_alone_is_normalised_with_the_support_images_only() -> None:
    torch.manual_seed(0)
    model = cnn(8, 1, 1, 3, outputs=2, strided=True).double()
    support, query = torch.rand(4, 1, 8, 8).double(), torch.rand(5, 1, 8, 8).double()
    labels = torch.eye(2).double()[[0, 0, 1, 1]]
    adaptation = Adaptation(model, LOSSES["cross-entropy"], InnerLoop(0.5, 2))
    together, alone = (adaptation.predictions(support, labels, query, mode) for mode in (False, True))
    assert together.shape == alone.shape == (3, 5, 2)
    assert not torch.allclose(together, alone)
    for i in range(5):
        expected = model(torch.cat([support, query[i : i + 1]]))[-1]
        torch.testing.assert_close(alone[0, i], expected.detach(), rtol=1e-12, atol=1e-12)


def test_strides_halve_as_pooling_does_not() -> None:
    model = cnn(28, 1, 4, 3, outputs=5, strided=True)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 5)
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in model)
    assert isinstance(model.out, nn.Linear) and model.out.in_features == 3 * 2 * 2  # 28, 14, 7, 4, 2


def case(family: str, profile: str = "quick", **changes: Any) -> Case:
    """Return the first case of a task family, made smaller."""
    first = next(c for c in fewshot.cases(Options(profile, "cpu", (0,), 1, None)) if c.params["family"] == family)
    small = {"iterations": 4, "episodes": 10} if family != "omniglot" else {}
    params = first.params.extended(**(small | changes))
    params["model"] = params.part("model").extended(filters=8)
    return Case(first.experiment, first.name, params, "cpu", "float32", 0, 1)


def measured(name: str, of: Case) -> tuple[Bench, Result]:
    b = Bench(of, name, None, None)
    work = fewshot.measure(b)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return b, end.value


@pytest.mark.parametrize("family", [pytest.param("glyphs", marks=pytest.mark.slow), "digits"])
def test_all_are_tested_on_the_same_episodes_in_both_ways(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "LOOK_EPISODES", 5)
    results = {name: measured(name, case(family, tasks=2)) for name in fewshot.METHODS}
    assert len({(b.stream_digest, b.init_digest) for b, _ in results.values()}) == 1
    for name, (_, result) in results.items():
        assert result.rows is not None
        reported = [(row["mode"], row["steps"]) for row in result.rows]
        last = 5 if name == fewshot.REPTILE else 3
        assert reported == [(mode, steps) for mode in (fewshot.TRANSDUCTIVE, fewshot.ALONE) for steps in (0, last)]
        assert all(0 <= row["accuracy"] <= 100 and row["chance"] == 20 for row in result.rows)
        assert len(result.series["adaptation"]["accuracy"]) == 11
        if name != "untrained":
            assert result.series["learning"]["iteration"] == [0, 1, 2, 3, 4]
        if name in (fewshot.MAML, "fomaml"):
            assert all(row["error_float64"] < 1e-9 for row in result.rows)
            assert all(row["alpha"] == pytest.approx(row["alpha_effective"] / 5) for row in result.rows)
    series = results[fewshot.MAML][1].series
    side = case(family).params.part("model").integer("side")
    assert {len(pixels) for pixels in series["sheet_0"].values()} == {side**2}
    assert len(series["sheet_0"]) == 10 and set(series["sheet_1_taken"]["for"]) <= set(range(5))


@pytest.mark.slow
def test_maml_learns_to_learn_characters_that_it_never_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adam_images, "LOOKS", 1)
    trained, untrained = (
        measured(name, case("glyphs", iterations=60, episodes=50))[1] for name in (fewshot.MAML, "untrained")
    )
    assert trained.rows is not None and untrained.rows is not None
    assert trained.rows[1]["accuracy"] > untrained.rows[1]["accuracy"] + 5
    assert trained.rows[1]["accuracy"] > 2 * trained.rows[1]["chance"]


def test_reptile_forgets_a_task_and_takes_each_image_once_in_a_round() -> None:
    torch.manual_seed(0)
    settings = reptile_images.Settings(2, 3, 4, 0.01, 1.0, 1, 1, 3, 2)
    learner = reptile_images.Reptile(cnn(8, 1, 1, 3, outputs=2), LOSSES["cross-entropy"], settings, [0, 2])
    x, y = torch.rand(4, 1, 8, 8), torch.eye(2)[[0, 0, 1, 1]]
    for _ in learner.descend(x, y, torch.arange(4)[None]):  # so that there are moments to be kept
        pass
    weights, moments = learner.weights(), [state["exp_avg_sq"].clone() for state in learner.adam.state.values()]
    first, again = (learner.predictions(x, y, x) for _ in range(2))
    assert first.shape == (2, 4, 2) and torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(weights, learner.weights(), strict=True))
    kept = [state["exp_avg_sq"] for state in learner.adam.state.values()]
    assert moments and all(torch.equal(a, b) for a, b in zip(moments, kept, strict=True))

    order = reptile_images.minibatches(6, 4, 3, 0, 0)
    assert order.shape == (3, 4)
    assert sorted(order.flatten().tolist()) == sorted([*range(6), *range(6)])
    assert order.flatten()[:6].sort().values.tolist() == list(range(6))
    assert not torch.equal(order, reptile_images.minibatches(6, 4, 3, 0, 1))


def test_reptile_moves_by_the_mean_displacement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "LOOK_EPISODES", 1)
    of = case("digits", iterations=1, tasks=2)
    b = Bench(of, fewshot.REPTILE, None, None)
    settings = reptile_images.settings_for(of.params, alone=False)
    learner = reptile_images.Reptile(b.model(torch.float32), b.loss, settings, [0])
    learner.adam = torch.optim.SGD(learner.theta, lr=0.1)  # type: ignore[assignment]  # keeps nothing between episodes
    before, after = learner.weights(), []
    batch = b.tensors(Episodes(digits.FAMILY, 0, 2, 5, settings.shots, 0).batch(0))
    for task in range(2):
        order = reptile_images.minibatches(75, 25, 3, 0, task)
        for _ in learner.descend(batch.support_x[task], batch.support_y[task], order):
            pass
        after.append(learner.weights())
        learner.put(before)
    curve = accuracy.LearningCurve(b, 0)
    assert list(reptile_images.iterate(b, learner, curve)) == [1.0]
    assert curve.series["iteration"] == [0, 1]
    for moved, one, other in zip(learner.weights(), *after, strict=True):  # ε is 1 in the first iteration
        torch.testing.assert_close(moved, (one + other) / 2)


def test_the_second_way_of_testing_has_a_training_of_its_own_only_where_its_recipe_differs() -> None:
    recipes = {
        (ways, shots): [
            reptile_images.settings_for(Parameters(family="omniglot", ways=ways, shots=shots), alone)
            for alone in (True, False)
        ]
        for ways, shots in fewshot.RELEASED
    }
    assert {setting for setting, (alone, together) in recipes.items() if alone != together} == {(5, 1)}
    for ways, shots in recipes:  # the released code takes each image of a training episode once
        for recipe in recipes[ways, shots]:
            assert recipe.minibatch * recipe.steps == ways * recipe.shots


@pytest.mark.parametrize(
    ("profile", "reason"), [("quick", "for the full profile"), ("full", "there is no omniglot-28.npz")]
)
def test_what_cannot_be_run_here_still_tells_what_is_published(
    profile: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("MAML_BENCH_DATA", str(tmp_path))
    with pytest.raises(Unavailable, match=f"not run here: .*{reason}") as refused:
        measured("unrolled", case("omniglot", profile))
    assert refused.value.rows is not None
    (row,) = refused.value.rows
    assert row["published"] == 98.7 and "Finn" in row["source"]
    with pytest.raises(Unavailable) as refused:
        measured("reptile", case("omniglot", profile))
    rows = [(row["mode"], row["steps"], row["published"]) for row in refused.value.rows or []]
    assert rows == [(fewshot.TRANSDUCTIVE, 5, 97.68), (fewshot.ALONE, 86, 95.39)]
    with pytest.raises(Unavailable) as refused:
        measured("untrained", case("omniglot", profile))
    assert [row["source"] for row in refused.value.rows or []] == ["no number is published"]
    (tmp_path / "omniglot-28.npz").touch()
    if profile == "full":
        with pytest.raises(Unavailable, match="need a GPU"):
            measured("unrolled", case("omniglot", profile))
