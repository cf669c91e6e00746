"""A run: plan the cells that are missing, have them measured, store each as soon as it is finished."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import baselines
from experiments.harness import checkout, experiment
from experiments.harness.case import Case, Json, Options, digest, matches
from experiments.harness.current import Allowed, current
from experiments.harness.executor import Executor, Here, Todo, Work
from experiments.harness.experiment import Experiment, Pass
from experiments.harness.measure import checkpoint
from experiments.harness.processes.answers import all_ok, merge
from experiments.harness.processes.limits import GIB, guard
from experiments.harness.processes.schedule import Advance, Job, in_turns, side_by_side
from experiments.harness.sources import Sources
from experiments.harness.store import FORMAT, Store

DEFAULT_TIMEOUT_S = 4 * 3600.0
Reporter = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows the progress of a label over a number of cells."""


def silent(label: str, cells: int) -> AbstractContextManager[Advance]:
    """A reporter that shows nothing."""
    return nullcontext(lambda done: None)


@dataclass
class Plan:
    """What is to be measured, and where.

    memory: bytes that all measuring processes together may hold; None: most of what there is.
    patterns: names of cases, as in a shell (`study-*`), to which the run is confined; none: all cases.
    files: implementation → its file; external: those files, and the model's, that lie outside the project, by the
    name under which children import them; helpers: the names of the modules that these import.
    executor: who measures it. `description` is of one of its machines, `others` of those that differ from it: what was
    measured in the environment of any of them is there already.
    commit: of the checkout, asked when the run begins.
    """

    experiments: list[str]
    files: dict[str, Path]
    external: dict[str, Path]
    options: Options
    description: dict[str, Json]
    results: Path
    model_file: Path | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    fresh: bool = False
    memory: float | None = None
    patterns: tuple[str, ...] = ()
    executor: Executor = field(default_factory=Here)
    others: tuple[dict[str, Json], ...] = ()
    helpers: tuple[str, ...] = ()
    commit: str = ""
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.results)
        self.sources = Sources(self.external, self.helpers)
        self.environment = digest(self.description["environment"])

    def todo(self, name: str) -> Iterator[tuple[Case, list[str], list[str]]]:
        """Every case with its subjects: those to be measured, and those that are there already."""
        wanted = experiment.load(name)
        apart = () if wanted.misuses else baselines.misuses()
        subjects = list(wanted.subjects or (name for name in self.files if name not in apart))
        for case in self.cases(name):
            here = [s for s in subjects if wanted.for_compiled(case) or not self._compiles(s)]
            missing = [s for s in here if self.fresh or not self._current(case, s)]
            yield case, missing, [s for s in here if s not in missing]

    def cases(self, name: str) -> list[Case]:
        """The cases of an experiment that are part of this run."""
        chosen = [c for c in self.offered(name) if not self.patterns or any(matches(c.name, p) for p in self.patterns)]
        return [self.executor.adapt(case) for case in chosen]

    def offered(self, name: str) -> list[Case]:
        """All cases of an experiment, by the names that patterns are for."""
        return [self._named(case) for case in experiment.load(name).cases(self.options)]

    def _compiles(self, subject: str) -> bool:
        known = [machine["implementations"].get(subject, {}) for machine in self._descriptions]
        return any(about.get("compiles") for about in known)

    @property
    def _descriptions(self) -> tuple[dict[str, Json], ...]:
        return (self.description, *self.others)

    def _model(self, case: Case) -> Path | None:
        """The user's file that the case's network comes from."""
        return self.model_file if self.options.model and case.params.get("model") == self.options.model else None

    def _named(self, case: Case) -> Case:
        """A case with a module of the user's is another case than the built-in one, and says so in its name."""
        model = self.options.model
        if model is None or not self._model(case):
            return case
        return replace(case, name=f"{case.name}-{Path(model['file']).stem}-{model['factory']}-{model['sha256'][:6]}")

    def run(self, reporter: Reporter = silent, say: Callable[[str], None] = print) -> None:
        """Measure everything that is missing, once no other run is at work in the same folder."""
        with (
            self.store.alone(lambda: say(f"another run is at work in {self.results}: waiting until it ends")),
            guard(self.memory),
        ):
            self._run(reporter)

    def _run(self, reporter: Reporter) -> None:
        self.commit = checkout.commit()
        planned = {
            name: [(case, missing) for case, missing, _ in self.todo(name) if missing] for name in self.experiments
        }
        self._write_sources()
        for name, todo in planned.items():
            wanted = experiment.load(name)
            with reporter(name, sum(len(missing) for _, missing in todo)) as advance:
                self.executor.measure(self, wanted, todo, advance)
        self.sources = self.sources.afresh()  # files may have been edited meanwhile
        self._write_sources()

    def _write_sources(self) -> None:
        """Tell those who read the results folder which sources are there now."""
        now = {"commit": self.commit, "sources": self.sources.recorded()}
        self.store.write(self.store.cells / "sources.json", now)

    def outdated(self) -> list[str]:
        """Case folders with cells whose sources have changed since, such as those of a case that no longer exists."""
        paths = [path for name in self.experiments for path in sorted((self.store.cells / name).glob("*/*.json"))]
        cells = {path: self.store.read(path) for path in paths}
        old = {path.parent for path, cell in cells.items() if cell and self.sources.changed(cell)}
        return sorted(str(folder.relative_to(self.results)) for folder in old)

    # -- measuring

    def measure(self, wanted: Experiment, todo: Todo, advance: Advance, work: Work = side_by_side) -> None:
        """Measure cases of an experiment by child processes; each cell is stored as soon as it is finished.

        work: how it is done where only results count.
        """
        if wanted.timed:
            self._with_turns(wanted, todo, advance)
        else:
            self._without_turns(wanted, todo, advance, work)

    def _without_turns(self, wanted: Experiment, todo: Todo, advance: Advance, work: Work) -> None:
        (only,) = wanted.passes
        with TemporaryDirectory() as said:
            cells = [(case, subject) for case, missing in todo for subject in missing]
            jobs = [self._job(case, subject, only, said=Path(said, case.id)) for case, subject in cells]
            for job in jobs:
                job.checkpoint = self._checkpoint(job.case, job.subject)
            for job in work(jobs, self.options.threads, advance):
                cell = self._cell(job.case, job.subject, {only.name: job.answers}, None)
                self.add(wanted, job.case, [cell], self.description["environment"])

    def _with_turns(self, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        for case, missing in todo:
            group = _now()
            beside = [s for s in wanted.references if s in self.files and s not in missing]
            answers: dict[str, dict[str, list[dict[str, Json]]]] = {s: {} for s in missing + beside}
            takes_part = [[s for s in answers if self._compiles(s) or not p.compiled_only] for p in wanted.passes]
            share = len(missing) / sum(map(len, takes_part))

            def step(done: float, share: float = share) -> None:
                advance(done * share)

            with TemporaryDirectory() as caches, TemporaryDirectory() as said:  # empty: the first has all to compile
                for step_pass, subjects in zip(wanted.passes, takes_part, strict=True):
                    jobs = [
                        self._job(case, s, step_pass, Path(caches, s), Path(said))
                        for s in subjects
                        if all_ok(answers[s])
                    ]
                    if step_pass.timed:
                        processes = step_pass.processes[self.options.profile]
                        processes = min(processes, case.params.get("processes", processes))
                        in_turns(jobs, processes, self.options.threads, step, seed=case.seed)
                    else:
                        for _ in side_by_side(jobs, self.options.threads, step):
                            pass
                    for job in jobs:
                        answers[job.subject][step_pass.name] = job.answers
            cells = [self._cell(case, s, by_pass, group, s in beside) for s, by_pass in answers.items()]
            self.add(wanted, case, cells, self.description["environment"])

    def _job(self, case: Case, subject: str, step: Pass, cache: Path | None = None, said: Path | None = None) -> Job:
        file = self.files.get(subject)
        outside = file if file in self.external.values() else None
        return Job(case, subject, outside, self.model_file, step, self.timeout, cache, said)

    # -- the store

    def add(self, wanted: Experiment, case: Case, cells: list[dict[str, Json]], environment: dict[str, Json]) -> None:
        """Store cells of one case, all from one machine and, if timed, of one round group; what they replace goes."""
        name = self.store.write_environment(environment)
        new = [cell["implementation"] for cell in cells if not cell["reference_only"]]
        found = [self._found(case, subject, machine) for subject in new for machine in self._descriptions]
        replaced = {path: cell for cells_of_one in found for path, cell in cells_of_one.items()}
        for cell in cells:
            key = self._key(case, cell["implementation"], environment)
            path = self.store.path(case, cell["implementation"], key, cell["round_group"])
            replaced.pop(path, None)
            # not before the others of the case: the newest one counts, even if the clock went back
            finished = max(cell["finished"], self.store.newest(case))
            changed = {"environment": name, "finished": finished, "commit": self.commit}
            self.store.write_cell(path, cell | changed)
            self.sources.know(cell["sources"])
            self.statuses[cell["status"]] = self.statuses.get(cell["status"], 0) + 1
            if cell["status"] not in ("failed", "oom", "timeout"):  # with more time or memory it may go on
                for made in self.store.checkpoints(case, cell["implementation"], key):
                    made.unlink()
        self.store.retire(case, replaced, wanted.references)

    def add_failed(self, wanted: Experiment, case: Case, missing: list[str], reason: str) -> None:
        """Store that a case took the machines with it that were to measure it; as if on the one of `description`."""
        group = _now() if wanted.timed else None
        end = {wanted.passes[0].name: [{"status": "failed", "reason": reason}]}
        cells = [self._cell(case, subject, end, group) for subject in missing]
        self.add(wanted, case, cells, self.description["environment"])

    def _checkpoint(self, case: Case, subject: str) -> Path:
        """Where the training of a cell keeps how far it is, with these sources; what cannot be used is set aside."""
        version = self.description["implementations"].get(subject, {}).get("version", "")
        key = self._key(case, subject, self.description["environment"])
        path = self.store.checkpoint(case, subject, key, digest([self.sources.all, version], 8))
        if problem := checkpoint.damaged(path):
            self.store.set_aside(path, "checkpoint", f"training starts anew ({problem})")
        return path

    def _key(self, case: Case, subject: str, environment: dict[str, Json]) -> str:
        versions = {name: environment[name] for name in ("python", "torch", "device_model")}
        return digest([case.json(), subject, versions], 8)

    def _found(self, case: Case, subject: str, machine: dict[str, Json]) -> dict[Path, dict[str, Json]]:
        return self.store.found(case, subject, self._key(case, subject, machine["environment"]))

    def _current(self, case: Case, subject: str) -> bool:
        """Whether there is a cell that would come out the same today on one of the machines.

        As far as anyone can tell without measuring.
        """
        return any(self._current_on(machine, case, subject) for machine in self._descriptions)

    def _current_on(self, machine: dict[str, Json], case: Case, subject: str) -> bool:
        about, allowed = machine["implementations"].get(subject, {}), self._allowed(machine)
        cells = self._found(case, subject, machine).values()
        return any(current(cell, self.sources, about, allowed) for cell in cells)

    def _allowed(self, machine: dict[str, Json]) -> Allowed:
        memory = self.memory / GIB if self.memory else machine.get("memory_gib")
        return Allowed(self.timeout, memory, machine.get("gpu_memory_gib"))

    def _cell(
        self,
        case: Case,
        subject: str,
        by_pass: dict[str, list[dict[str, Json]]],
        group: str | None,
        reference_only: bool = False,
    ) -> dict[str, Json]:
        known = self.description["implementations"].get(subject, {})
        merged = merge(by_pass)
        given = [file for file in (self.files.get(subject), self._model(case)) if file]
        own = {experiment.file(case.experiment), *map(self.sources.name, given)}
        if any("sources" not in answer for answers in by_pass.values() for answer in answers):
            own |= self.sources.behind(own)  # a child did not live to tell what it had imported
        merged["sources"] = self.sources.at_work(own - merged["sources"].keys()) | merged["sources"]
        if merged["status"] in ("unavailable", "failed"):
            merged["lacking"] = merged["lacking"] or known.get("lacking", "")
        allowed = self._allowed(self.description)
        return {
            "format": FORMAT,
            "experiment": case.experiment,
            "case": case.json(),
            "implementation": subject,
            "computes": known.get("computes", ""),
            "library": known.get("library", ""),
            "library_version": known.get("version", ""),
            "round_group": group,
            "reference_only": reference_only,
            **merged,
            "timeout_s": allowed.timeout_s,
            "memory_gib": allowed.memory_gib,
            "gpu_memory_gib": allowed.gpu_memory_gib,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def _now() -> str:
    """The name of a round group that begins now."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
