"""Tasks and weights: the same for everyone, anywhere, in any order."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from experiments.problems.networks.initial import initialise
from experiments.problems.networks.mlp import mlp
from experiments.problems.tasks import family
from experiments.problems.tasks.draws import raw, uniform
from experiments.problems.tasks.stream import Stream
from tests.conftest import bench


def stream(seed: int = 0, **changes: object) -> Stream:
    settings = {"tasks": 10, "shots": 5, "queries": 5} | changes
    return Stream(family("sinusoid"), seed, **settings)  # type: ignore[arg-type]


def test_raw_draws_are_those_of_philox() -> None:
    """Recorded once; a change here would change every result of the project."""
    assert raw("sinusoid v1 train", 0, 0, 2).tolist() == RECORDED
    again = np.random.Generator(np.random.Philox(key=KEY << 64, counter=7 << 128)).bit_generator.random_raw(2)
    assert raw("sinusoid v1 train", 0, 7, 2).tolist() == again.tolist()


KEY = 0x4A8F1EE15A34F4BD
RECORDED = [11898749412821063719, 11990042737017037693]


def test_a_batch_depends_on_seed_and_index_alone() -> None:
    forward = [stream().batch(i) for i in range(5)]
    one = stream()
    backward = [one.batch(i) for i in reversed(range(5))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
    assert not np.array_equal(forward[0].support_x, forward[1].support_x)
    assert not np.array_equal(forward[0].support_x, stream(seed=1).batch(0).support_x)
    assert not np.array_equal(forward[0].support_x, stream(purpose="heldout").batch(0).support_x)


def test_far_batches_cost_no_more_and_do_not_overlap() -> None:
    far = stream().batch(10**15)
    assert not np.isin(far.support_x, stream().batch(10**15 + 1).support_x).any()


def test_the_digest_covers_what_was_taken() -> None:
    a, b = stream(), stream()
    assert a.digest == b.digest
    a.batch(0)
    assert a.digest != b.digest
    b.batch(0)
    assert a.digest == b.digest
    assert stream(seed=1).digest != "" and len(a.digest) == 64
    assert stream(tasks=5).digest != stream(shots=4).digest != stream().digest


def test_sinusoids_have_the_ranges_of_the_paper() -> None:
    """Amplitude U[0.1, 5], phase U[0, π], x U[−5, 5]: recovered from noiseless points by least squares."""
    batch = stream(tasks=2000).batch(0)
    x, y = np.concatenate([batch.support_x, batch.query_x], 1), np.concatenate([batch.support_y, batch.query_y], 1)
    assert x.min() >= -5 and x.max() <= 5
    design = np.concatenate([np.sin(x), -np.cos(x)], axis=2)
    solved = np.linalg.solve(design.transpose(0, 2, 1) @ design, design.transpose(0, 2, 1) @ y)[..., 0]
    amplitude, phase = np.hypot(*solved.T), np.arctan2(solved[:, 1], solved[:, 0])
    assert np.abs(design @ solved[..., None] - y).max() < 1e-9
    for values, low, high in ((amplitude, 0.1, 5.0), (phase, 0.0, np.pi), (x, -5.0, 5.0)):
        assert low - 1e-9 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-9
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_support_and_query_are_a_random_split() -> None:
    """No point is in both, and either half has the same distribution."""
    batch = stream(tasks=2000).batch(3)
    assert not np.isin(batch.support_x, batch.query_x).any()
    assert batch.support_x.mean() == pytest.approx(batch.query_x.mean(), abs=0.15)


def test_equal_in_another_process() -> None:
    code = (
        "import json; from experiments.problems.tasks import family\n"
        "from experiments.problems.tasks.stream import Stream\n"
        "s = Stream(family('sinusoid'), 3, 2, 2, 2)\n"
        "print(json.dumps([[p.tolist() for p in s.batch(9)], s.digest]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = Stream(family("sinusoid"), 3, 2, 2, 2)
    assert json.loads(out) == [[p.tolist() for p in here.batch(9)], here.digest]


def test_uniforms_fill_the_unit_interval() -> None:
    u = uniform(raw("test", 0, 0, 10_000))
    assert 0 <= u.min() < 1e-3 and 1 - 1e-3 < u.max() < 1
    assert uniform(np.array([0, 2**64 - 1], dtype=np.uint64)).tolist() == [0.0, 1 - 2.0**-53]


def test_initial_weights_ignore_torchs_generator_and_fill_their_range() -> None:
    models = []
    for torch_seed in (0, 1):
        torch.manual_seed(torch_seed)
        models.append(mlp(1, 2, 40, "relu").double())
    assert initialise(models[0], 5) == initialise(models[1], 5) != initialise(mlp(1, 2, 40, "relu"), 6)
    initialise(models[1], 5)
    for (name, p), (_, q) in zip(models[0].named_parameters(), models[1].named_parameters(), strict=True):
        assert torch.equal(p, q)
        bound = 1.0 if name.startswith("hidden1") else 40**-0.5
        assert p.abs().max() <= bound
        assert p.numel() < 10 or p.abs().max() > 0.8 * bound


def test_dtypes_see_the_same_tasks_and_weights() -> None:
    single, double = bench(dtype="float32"), bench(dtype="float64")
    for a, b in zip(single.batch(0), double.batch(0), strict=True):
        assert torch.equal(a, b.float())
    for a, b in zip(single.model(torch.float32).parameters(), double.model(torch.float64).parameters(), strict=True):
        assert torch.equal(a, b.float())
    assert single.init_digest == double.init_digest
    assert single.stream().digest == double.stream().digest
