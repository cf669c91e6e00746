"""From what a user typed to a plan; whatever is unusable is refused here, in one line, before anything is measured."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.harness import experiment
from experiments.harness.executor import Executor, Here
from experiments.harness.processes import isolate
from experiments.harness.processes.limits import GIB
from experiments.harness.records import Options, UserModel
from experiments.harness.records.files import sha256
from experiments.harness.refusals import BadRequest
from experiments.harness.run import DEFAULT_TIMEOUT_S, Plan
from experiments.harness.selection import ALL, OPTION, matches, python_file, select

DEVICES = ("auto", "cpu", "cuda")
POINTS = 5  # that a model of the user's is tried with


def request(
    experiments: Sequence[str] = (),
    implementations: Sequence[str | Path] = (ALL,),
    profile: str = "quick",
    device: str = "auto",
    seeds: Sequence[int] | None = None,
    threads: int = 1,
    timeout: float | None = None,
    memory: float | None = None,
    results: Path = Path("results"),
    fresh: bool = False,
    model: str | None = None,
    cases: Sequence[str] = (),
    executor: Executor | None = None,
) -> Plan:
    """Plan `experiments` (none named: all that are not on request only), or some `cases` of them.

    implementations: names, `all`, and files of the user's, as `selection.select` takes them.
    executor: who measures it, by default this machine.

    Raises BadRequest; and NotWritable where `results` cannot be written.
    """
    _known("experiment", experiments, experiment.names())
    _known("profile", [profile], experiment.PROFILES)
    _known("device", [device], DEVICES)
    executor = executor or Here()
    if not 1 <= threads <= executor.cores:
        raise BadRequest(f"--threads {threads}: {executor.name} takes 1 to {executor.cores}")
    if timeout is not None and not timeout > 0:
        raise BadRequest(f"--timeout {timeout:g}: it has to be a positive number of seconds")
    if memory is not None and not memory > 0:
        raise BadRequest(f"--memory {memory:g}: it has to be a positive number of GiB")
    names = list(dict.fromkeys(experiments)) or [
        name for name in experiment.names() if experiment.load(name).by_default
    ]
    executor.check(names)
    selection = select(implementations, misuses=any(experiment.load(name).misuses for name in names))
    files, own = selection.files, selection.own
    chosen_model, model_file, helpers = _model(model) if model else (None, None, [])
    timed = any(experiment.load(name).timed for name in names)
    machine, *others = executor.describe(device, {name: str(path) for name, path in files.items()}, timed)
    if machine.device == "cuda" and not machine.cuda:
        raise BadRequest("--device cuda: PyTorch finds no CUDA device here; allowed are cpu and auto")
    for name, path in own.items():
        if problem := machine.implementations[name].problem:
            raise BadRequest(f"{OPTION} {path.name}: {problem}")
    external = {f"external_{path.stem}": path for path in own.values()}
    helpers += [helper for name in own for helper in machine.implementations[name].helpers]
    if model_file:
        if (called := f"external_model_{model_file.stem}") in external:
            raise BadRequest(f"{OPTION} {external[called].name} and --model {model_file.name}: rename one of them")
        external[called] = model_file
    options = Options(profile, machine.device, tuple(dict.fromkeys(seeds)) if seeds else None, threads, chosen_model)
    timeout = timeout or DEFAULT_TIMEOUT_S
    plan = Plan(names, files, external, options, machine, results, model_file, timeout, fresh)
    plan = replace(plan, memory=memory * GIB if memory else None, helpers=tuple(helpers))
    every = [case.name for name in names for case in plan.offered(name)]
    for pattern in cases:
        if not any(matches(name, pattern) for name in every):
            raise BadRequest(f"--cases {pattern}: no such case; there are: {', '.join(dict.fromkeys(every))}")
    return replace(plan, patterns=tuple(cases), executor=executor, others=tuple(others))


def _known(kind: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise BadRequest(f"unknown {kind} '{name}'; there are: {', '.join(allowed)}")


def _model(text: str) -> tuple[UserModel, Path, list[str]]:
    """Return the user's network, its file and what that imports; a worker calls the factory to see."""
    name, colon, factory = text.rpartition(":")
    if not colon or not factory.isidentifier():
        raise BadRequest(f"--model {text}: it has to be FILE.py:FACTORY")
    path = python_file("--model", Path(name))
    made = isolate.shape_of(path, factory, POINTS)
    if made.problem:
        raise BadRequest(f"--model {text}: {made.problem}")
    shape = made.shape
    if shape != (POINTS, 1):
        raise BadRequest(
            f"--model {text}: it has to map (points, 1) to (points, 1), but gives {shape} for {POINTS} points"
        )
    return UserModel(path.name, factory, sha256(path)), path, list(made.helpers)
