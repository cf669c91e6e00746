"""From what a user typed to a plan; whatever is unusable is refused here, in one line, before anything is measured."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch

import baselines
from experiments.harness import experiment, isolate
from experiments.harness.case import Json, Options, sha256
from experiments.harness.ranks import Ranks
from experiments.harness.run import DEFAULT_TIMEOUT_S, Plan
from experiments.harness.status import classify

DEVICES = ("auto", "cpu", "cuda")
POINTS = 5  # that a model of the user's is tried with


class BadRequest(ValueError):
    """What was asked for cannot be done; the message says what was wrong and what is allowed."""


def request(
    experiments: Sequence[str] = (),
    implementations: Sequence[str] = (),
    profile: str = "quick",
    device: str = "auto",
    seeds: Sequence[int] | None = None,
    threads: int = 1,
    timeout: float | None = None,
    results: Path = Path("results"),
    fresh: bool = False,
    baseline_files: Sequence[Path] = (),
    model: str | None = None,
    cases: Sequence[str] = (),
    ranks: Ranks | None = None,
) -> Plan:
    """A plan for `experiments` (none named: all that are not on request only), or for some `cases` of them.

    Raises BadRequest; and NotWritable where `results` cannot be written.
    """
    _known("experiment", experiments, experiment.names())
    _known("profile", [profile], experiment.PROFILES)
    _known("device", [device], DEVICES)
    if not 1 <= threads <= (os.cpu_count() or 1):
        raise BadRequest(f"--threads {threads}: this machine takes 1 to {os.cpu_count()}")
    if timeout is not None and not timeout > 0:
        raise BadRequest(f"--timeout {timeout:g}: it has to be a positive number of seconds")
    names = list(dict.fromkeys(experiments)) or [
        name for name in experiment.names() if experiment.load(name).by_default
    ]
    _over_ranks(names, ranks)
    files = baselines.names()
    if any(experiment.load(name).misuses for name in names):
        files |= baselines.misuses()
    given: dict[str, Path] = {}
    for path in baseline_files:
        name = baselines.name_of(path)
        if name in files:
            raise BadRequest(f"--baseline {path}: there is an implementation named {name} already")
        given[name] = path
        files[name] = _python_file("--baseline", path)
    _known("implementation", implementations, sorted(files))
    if implementations:
        files = {name: files[name] for name in (*implementations, *given)}
    chosen_model, model_file = _model(model) if model else (None, None)
    description = isolate.describe(device, {name: str(path) for name, path in files.items()})
    if description["device"] == "cuda" and not description["cuda"]:
        raise BadRequest("--device cuda: PyTorch finds no CUDA device here; allowed are cpu and auto")
    for name, path in given.items():
        if problem := description["implementations"][name]["problem"]:
            raise BadRequest(f"--baseline {path}: {problem}")
    external = {f"external_{files[name].stem}": files[name] for name in given}
    if model_file:
        external[f"external_model_{model_file.stem}"] = model_file
    options = Options(
        profile, description["device"], tuple(dict.fromkeys(seeds)) if seeds else None, threads, chosen_model
    )
    timeout = timeout or DEFAULT_TIMEOUT_S
    plan = Plan(names, files, external, options, description, results, model_file, timeout, fresh, ranks=ranks)
    every = [case.name for name in names for case in plan.offered(name)]
    for pattern in cases:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise BadRequest(f"--cases {pattern}: no such case; there are: {', '.join(dict.fromkeys(every))}")
    return replace(plan, patterns=tuple(cases))


def _known(kind: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise BadRequest(f"unknown {kind} '{name}'; there are: {', '.join(allowed)}")


def _over_ranks(names: Sequence[str], ranks: Ranks | None) -> None:
    """Refuse what does not shard its meta-batches under torchrun, and without it what is about nothing else."""
    for name in names:
        allowed = experiment.load(name).ranks
        if ranks and allowed == "one":
            sharding = [other for other in experiment.names() if experiment.load(other).ranks != "one"]
            raise BadRequest(f"{name} cannot be run by torchrun over several ranks; allowed are {', '.join(sharding)}")
        if not ranks and allowed == "several":
            command = f"torchrun --nproc-per-node 2 -m experiments run {name}"
            raise BadRequest(f"{name} takes two ranks or more: {command}")


def _python_file(option: str, path: Path) -> Path:
    if not path.is_file() or path.suffix != ".py":
        raise BadRequest(f"{option} {path}: there is no such Python file")
    return path.resolve()


def _model(text: str) -> tuple[dict[str, Json], Path]:
    """The model's entry in the cases' parameters, and its file; the factory is called once to see that it works."""
    name, colon, factory = text.rpartition(":")
    if not colon or not factory.isidentifier():
        raise BadRequest(f"--model {text}: it has to be FILE.py:FACTORY")
    path = _python_file("--model", Path(name))
    try:
        spec = importlib.util.spec_from_file_location(f"external_model_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made = getattr(module, factory)()
        if not isinstance(made, torch.nn.Module):
            raise BadRequest(f"--model {text}: {factory}() returned {type(made).__name__}, not a torch.nn.Module")
        shape = tuple(made(torch.zeros(POINTS, 1)).shape)
    except BadRequest:
        raise
    except Exception as error:
        raise BadRequest(f"--model {text}: {classify(error)[1]}") from None
    if shape != (POINTS, 1):
        raise BadRequest(
            f"--model {text}: it has to map (points, 1) to (points, 1), but gives {shape} for {POINTS} points"
        )
    return {"file": path.name, "factory": factory, "sha256": sha256(path)}, path
