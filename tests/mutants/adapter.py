"""A `meta_step` as an implementation, so that mutants meet the same checks as every other one."""

import importlib
from collections.abc import Callable
from typing import Any

import torch

from baselines.contract import Baseline, Computes, MetaGradient, TaskBatch, take_grads
from experiments.audit.catalogue import EXPLANATIONS
from experiments.checks import regress
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Options
from experiments.harness.status import Wrong
from experiments.judging.golden import files
from tests.mutants import Mutant

TRAITS = ("tied", "frozen", "unused", "side")
"""What not every right function serves; a wrong one is known there, too."""


def load(mutant: Mutant) -> Callable[..., Any]:
    """The function, imported as part of this package."""
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"tests.mutants.{mutant.file.stem}"), mutant.function
    )
    return function


def implementation(function: Callable[..., Any], says: Computes) -> type[Baseline]:
    """An implementation that calls `function` and says that it computes `says`."""

    class MetaStep(Baseline):
        computes = says

        def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
            support_x, support_y, query_x, query_y = prepared
            model, inner = self.spec.model, self.spec.inner
            try:
                function(model, self.spec.loss, (support_x, support_y), (query_x, query_y), inner.lr, inner.steps)
            finally:
                torch.set_grad_enabled(True)  # one of them leaves it off
            return MetaGradient(None, take_grads(model))

    return MetaStep


def regressed(mutant: Mutant, says: Computes = "maml") -> str:
    """The golden case on which the check finds a function wrong, and how; empty where it finds nothing."""
    for case in regress.cases(Options("quick", "cpu", None, 1, None)):
        golden = files.read(case.name)
        traits = () if mutant.expected[0] in EXPLANATIONS else TRAITS
        if case.dtype != "float64" or golden.steps == 0 or any(trait in golden.description for trait in traits):
            continue
        bench = Bench(case, mutant.name, None, None)
        bench.__dict__["implementation"] = implementation(load(mutant), says)
        try:
            regress.judge(bench, golden)
        except Wrong as wrong:
            return f"{case.name}: {wrong}"
        except Exception:  # unavailable, or a case that it does not serve: that tells nothing of its results
            continue
    return ""
