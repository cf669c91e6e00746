"""What only the tutorial notebook's implementation has: its container, and what it cannot serve."""

import pytest
import torch
from torch import nn

import baselines
from baselines.contract import InnerLoop, Spec
from tests.baselines.models import Tied, batch, build, frozen, mlp


def test_the_notebook_says_what_it_cannot_serve() -> None:
    implementation = baselines.load(baselines.names()["notebook"])

    def reason(model: nn.Module, steps: int = 1) -> str:
        spec = Spec(model, nn.functional.mse_loss, InnerLoop(0.1, steps), torch.device("cpu"), torch.float32)
        return implementation.unavailable(spec) or ""

    assert "one inner step" in reason(mlp(), steps=2)
    assert "Conv1d" in reason(nn.Sequential(nn.Conv1d(1, 1, 1)))
    assert "Tied" in reason(Tied())
    assert "frozen" in reason(frozen())


def test_the_notebooks_container_prints_and_clears_its_buffer(capsys: pytest.CaptureFixture[str]) -> None:
    implementation = build("notebook", mlp())
    implementation.meta_gradient(batch())
    implementation.container.show_and_clear()
    printed = capsys.readouterr().out
    assert [line.split(":")[0] for line in printed.splitlines() if ": tensor(" in line] == [
        "hidden.weight",
        "hidden.bias",
        "out.weight",
        "out.bias",
    ]
    assert implementation.container.buffer == {}
