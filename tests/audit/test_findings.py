"""What an audit's explanation says of functions as people write them: what is known, in which line, in which order."""

from pathlib import Path

import numpy as np
import pytest

from experiments.audit.catalogue import EXPLANATIONS
from experiments.audit.factors import Finding
from experiments.audit.facts import describe_probes, nearest_kind
from experiments.audit.observed import fit
from experiments.audit.probes import probes
from experiments.audit.report import remarks, verdict
from experiments.audit.session import Target
from experiments.audit.verdict import audit
from experiments.audit.worker import Calls
from tests.audit.audits import in_process
from tests.audit.test_mutants import audited
from tests.mutants import mutants

__all__ = ["in_process"]  # a fixture: no process is started here

FILES = ("in_the_field", "in_the_field_beside", "forward_by_hand")
EXPLAINED = {
    "clamped_at_ten": "to values of ±10); see line",
    "clamped_at_three": "to values of ±3",
    "the_linear_layers_only": "norm1.weight, norm1.bias, norm2.weight, norm2.bias",
    "cross_entropy": "it never calls `loss_fn`",
    "cleared_after_the_step": "its own optimizer stepped, and the gradients were cleared after it",
    "squared_error_inside": "a squared error of its own inside, the given one outside",
    "loss_after_every_step": "it is second-order MAML in the probes with one inner step or with α = 0 (4 of 18)",
    "a_rate_for_every_layer": "it ignores inner_lr: its results are the same for every α",
    "a_step_for_every_point": "it ignores inner_steps: its results are the same for every K",
    "forward_of_a_relu_network": "(of ReLU networks)",
    "momentum_and_decay": "of 0.9",
    "momentum_of_nesterov": "of 0.9, Nesterov's",
    "the_commonest_script": "always 5",
}


@pytest.mark.slow
@pytest.mark.parametrize("function", EXPLAINED)
def test_explanations_say_what_is_known(function: str) -> None:
    (mutant,) = (m for m in mutants() if m.function == function and m.file.stem in FILES)
    report = audited(mutant)
    assert set(report.diagnosis) == set(mutant.expected), report.explanation
    assert EXPLAINED[function] in report.explanation
    assert "e+" not in report.explanation  # no error of 1e15


def test_findings_come_in_the_order_in_which_they_are_mended_and_with_their_lines() -> None:
    details = {"sum-over-tasks": "", "first-order": "", "inner-lr": "0.01", "raises": "in 3"}
    explained = remarks([Finding(*item) for item in details.items()], {"support gradient": 7, "query gradient": 12})
    assert [remark.identifier for remark in explained] == ["raises", "inner-lr", "first-order", "sum-over-tasks"]
    ends = ["(in 3)", "(0.01)", "; see line 7", "; see line 12"]
    assert all(remark.text.endswith(end) for remark, end in zip(explained, ends, strict=True))
    assert list(EXPLANATIONS)[-1] == "unexplained"


def test_a_forward_pass_of_its_own_has_a_verdict_of_its_own() -> None:
    forward = Finding("own-forward", "of ReLU networks")
    assert verdict([forward]) == "second-order MAML of ReLU networks"
    assert verdict([forward, Finding("first-order")]) == "first-order MAML (FOMAML) of ReLU networks"
    assert verdict([forward, Finding("sum-over-tasks")]) == "wrong"


def test_what_probes_have_in_common_is_said_in_words_and_else_by_name() -> None:
    every = probes()
    one_step = [p.name for p in every if p.steps == 1]
    assert describe_probes(one_step, every).startswith("in the probes with one inner step (")
    assert "or" in describe_probes([*one_step, "α = 0"], every)
    assert describe_probes(["other points", "two tasks"], every) == "in 2 of 18 probes ('other points', 'two tasks')"


def test_nothing_is_called_the_nearest_that_is_far() -> None:
    assert nearest_kind({"maml": {"a": 0.5, "b": 1e15}, "fomaml": {"a": 1.0, "b": 2.0}}) is None
    near = nearest_kind({"maml": {"a": 0.5, "b": 2.0}, "fomaml": {"a": 0.1, "b": 0.2}})
    assert near == ("fomaml", pytest.approx(0.15))


LOGGING = """
import torch
from torch.autograd import grad
from torch.func import functional_call


def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):
    theta = dict(model.named_parameters())
    with torch.no_grad():
        before = loss_fn(model(query[0][0]), query[1][0])  # for a log
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query):
        fast = dict(theta)
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)  # line 15
            grads = grad(loss, list(fast.values()), create_graph=True)  # line 16
            fast = {name: w - inner_lr * g for (name, w), g in zip(fast.items(), grads)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))  # line 18
    for p, g in zip(theta.values(), grad(sum(losses), list(theta.values()))):  # line 19
        p.grad = g
"""


def test_lines_are_those_of_the_losses_that_are_differentiated_and_of_their_gradients(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(LOGGING)
    report = audit(Target(file, "meta_step"))
    assert report.diagnosis == ("sum-over-tasks",)
    assert report.explanation.endswith("see line 19")
    expected = {"support": 15, "last support": 15, "support gradient": 16, "query": 18, "last query": 18}
    assert report.evidence.lines == expected | {"query gradient": 19}


REMEMBERS = """
import torch
from torch.func import functional_call

RATES = []


def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):
    RATES.append(inner_lr)
    losses = []
    for support_x, support_y, query_x, query_y in zip(*support, *query):
        fast = dict(model.named_parameters())
        for _ in range(inner_steps):
            loss = loss_fn(functional_call(model, fast, (support_x,)), support_y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: w - RATES[0] * g for (name, w), g in zip(fast.items(), grads)}
        losses.append(loss_fn(functional_call(model, fast, (query_x,)), query_y))
    torch.stack(losses).mean().backward()
"""


def test_what_is_remembered_is_found_for_one_number_of_steps_too(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(REMEMBERS)
    assert audit(Target(file, "meta_step"), steps=2).diagnosis == ("stale-arguments",)


def test_terms_that_are_no_numbers_fit_nothing() -> None:
    factors = fit([np.array([1.0, np.inf]), np.array([1.0, 2.0])], np.array([1.0, 1.0]))
    assert np.isnan(factors).all()


NOISY = """
import random

import numpy
import torch


def meta_step(model, loss_fn, support, query, inner_lr, inner_steps):
    noise = {draw} * torch.ones(())
    (noise * loss_fn(model(query[0][0]), query[1][0])).backward()
"""


@pytest.mark.parametrize("draw", ["torch.rand(())", "random.random()", "numpy.random.rand()"])
def test_a_seed_decides_what_a_call_draws_from_every_generator(tmp_path: Path, draw: str) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(NOISY.replace("{draw}", draw))
    calls = Calls(str(file), "meta_step")
    first, again, other = (calls.call(probes()[0].request() | {"seed": seed})["grads"] for seed in (0, 0, 1))
    assert first == again != other
