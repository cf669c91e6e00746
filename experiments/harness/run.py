"""A run: plan the cells that are missing, have them measured, store each as soon as it is finished."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import baselines
from experiments.harness import checkout, experiment
from experiments.harness.current import Allowed, current
from experiments.harness.executor import Executor, Here, Todo, Work
from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure import checkpoint
from experiments.harness.processes.answers import Ends, all_ok, merge
from experiments.harness.processes.limits import GIB, guard
from experiments.harness.processes.schedule import Advance, Job, in_turns, side_by_side
from experiments.harness.records import Case, Environment, Options, Status, StoredCell
from experiments.harness.records.messages import End, Implementation, Machine
from experiments.harness.records.serial import digest
from experiments.harness.selection import matches
from experiments.harness.sources import Sources
from experiments.harness.store import Cells, Store

DEFAULT_TIMEOUT_S = 4 * 3600.0
Reporter = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows the progress of a label over a number of cells."""


def silent(label: str, cells: int) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(lambda done: None)


@dataclass
class Plan:
    """What is to be measured, and where.

    memory: bytes that all measuring processes together may hold; None: most of what there is.
    patterns: names of cases, as in a shell (`study-*`), to which the run is confined; none: all cases.
    files: implementation → its file; external: those files, and the model's, that lie outside the project, by the
    name under which workers import them; helpers: the names of the modules that these import.
    executor: who measures it. `machine` is one of those that it measures on, `others` are those that differ from it:
    what was measured in the environment of any of them is there already.
    commit: of the checkout, asked when the run begins.
    """

    experiments: list[str]
    files: dict[str, Path]
    external: dict[str, Path]
    options: Options
    machine: Machine
    results: Path
    model_file: Path | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    fresh: bool = False
    memory: float | None = None
    patterns: tuple[str, ...] = ()
    executor: Executor = field(default_factory=Here)
    others: tuple[Machine, ...] = ()
    helpers: tuple[str, ...] = ()
    commit: str = ""
    statuses: dict[Status, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.results)
        self.sources = Sources(self.external, self.helpers)
        self.environment = digest(asdict(self.machine.environment))

    def todo(self, name: str) -> Iterator[tuple[Case, list[str], list[str]]]:
        """Yield every case with its implementations: those to be measured, and those that are there already."""
        wanted = experiment.load(name)
        apart = () if wanted.misuses else baselines.misuses()
        implementations = list(wanted.compared or (name for name in self.files if name not in apart))
        for case in self.cases(name):
            here = [s for s in implementations if wanted.for_compiled(case) or not self._compiles(s)]
            missing = [s for s in here if self.fresh or not self._current(case, s)]
            yield case, missing, [s for s in here if s not in missing]

    def cases(self, name: str) -> list[Case]:
        """Return the cases of an experiment that are part of this run."""
        chosen = [c for c in self.offered(name) if not self.patterns or any(matches(c.name, p) for p in self.patterns)]
        return [self.executor.adapt(case) for case in chosen]

    def offered(self, name: str) -> list[Case]:
        """Return all cases of an experiment, by the names that patterns are for."""
        return [self._named(case) for case in experiment.load(name).cases(self.options)]

    def _compiles(self, implementation: str) -> bool:
        return any(_known(machine, implementation).compiles for machine in self._machines)

    @property
    def _machines(self) -> tuple[Machine, ...]:
        return (self.machine, *self.others)

    def _model(self, case: Case) -> Path | None:
        """Return the user's file that the case's network comes from."""
        model = self.options.model
        return self.model_file if model and case.params.get("model") == model.parameters else None

    def _named(self, case: Case) -> Case:
        """Rename a case with a network of the user's, since it is another case than the built-in one."""
        model = self.options.model
        if model is None or not self._model(case):
            return case
        return replace(case, name=f"{case.name}-{Path(model.file).stem}-{model.factory}-{model.sha256[:6]}")

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
        self.store.write_sources(self.commit, self.sources.recorded())

    def outdated(self) -> list[str]:
        """Return the case folders with cells whose sources have changed, or whose case no longer exists."""
        paths = [path for name in self.experiments for path in sorted((self.store.cells / name).glob("*/*.json"))]
        cells = {path: self.store.read(path) for path in paths}
        old = {path.parent for path, cell in cells.items() if cell and self.sources.changed(cell)}
        return sorted(str(folder.relative_to(self.results)) for folder in old)

    # -- measuring

    def measure(self, wanted: Experiment, todo: Todo, advance: Advance, work: Work = side_by_side) -> None:
        """Measure cases of an experiment by worker processes; each cell is stored as soon as it is finished.

        work: how it is done where only results count.
        """
        if wanted.timed:
            self._with_turns(wanted, todo, advance)
        else:
            self._without_turns(wanted, todo, advance, work)

    def _without_turns(self, wanted: Experiment, todo: Todo, advance: Advance, work: Work) -> None:
        (only,) = wanted.measurements
        with TemporaryDirectory() as shared:
            cells = [(case, implementation) for case, missing in todo for implementation in missing]
            jobs = [
                self._job(case, implementation, only, oracle_results=Path(shared, case.folder))
                for case, implementation in cells
            ]
            for job in jobs:
                job.checkpoint = self._checkpoint(job.case, job.implementation)
            for job in work(jobs, self.options.threads, advance):
                cell = self._cell(job.case, job.implementation, {only.name: job.answers}, None)
                self.add(wanted, job.case, [cell], self.machine.environment)

    def _with_turns(self, wanted: Experiment, todo: Todo, advance: Advance) -> None:
        for case, missing in todo:
            group = _now()
            beside = [s for s in wanted.references if s in self.files and s not in missing]
            answers: dict[str, dict[str, list[End]]] = {s: {} for s in missing + beside}
            takes_part = [[s for s in answers if self._compiles(s) or not p.compiled_only] for p in wanted.measurements]
            share = len(missing) / sum(map(len, takes_part))

            def step(done: float, share: float = share) -> None:
                advance(done * share)

            with TemporaryDirectory() as caches, TemporaryDirectory() as shared:  # empty: the first has all to compile
                for measurement, implementations in zip(wanted.measurements, takes_part, strict=True):
                    jobs = [
                        self._job(case, s, measurement, Path(caches, s), Path(shared))
                        for s in implementations
                        if all_ok(answers[s])
                    ]
                    if measurement.timed:
                        processes = measurement.processes[self.options.profile]
                        processes = min(processes, case.params.integer("processes", processes))
                        in_turns(jobs, processes, self.options.threads, step, seed=case.seed)
                    else:
                        for _ in side_by_side(jobs, self.options.threads, step):
                            pass
                    for job in jobs:
                        answers[job.implementation][measurement.name] = job.answers
            cells = [self._cell(case, s, ends_of, group, s in beside) for s, ends_of in answers.items()]
            self.add(wanted, case, cells, self.machine.environment)

    def _job(
        self,
        case: Case,
        implementation: str,
        measurement: Measurement,
        cache: Path | None = None,
        oracle_results: Path | None = None,
    ) -> Job:
        file = self.files.get(implementation)
        outside = file if file in self.external.values() else None
        files = outside, self.model_file
        return Job(case, implementation, *files, measurement, self.timeout, cache, oracle_results)

    # -- the store

    def add(self, wanted: Experiment, case: Case, cells: list[StoredCell], environment: Environment) -> None:
        """Store cells of one case, all from one machine and, if timed, of one round group; what they replace goes."""
        name = self.store.write_environment(environment)
        new = [cell.implementation for cell in cells if not cell.reference_only]
        found = [self._found(case, implementation, machine) for implementation in new for machine in self._machines]
        replaced = {path: cell for cells_of_one in found for path, cell in cells_of_one.items()}
        for cell in cells:
            key = self._key(case, cell.implementation, environment)
            path = self.store.path(case, cell.implementation, key, cell.round_group)
            replaced.pop(path, None)
            # not before the others of the case: the newest one counts, even if the clock went back
            finished = max(cell.finished, self.store.newest(case))
            self.store.write_cell(path, replace(cell, environment=name, finished=finished, commit=self.commit))
            self.sources.know(cell.sources)
            self.statuses[cell.status] = self.statuses.get(cell.status, 0) + 1
            if cell.status not in (Status.FAILED, Status.OOM, Status.TIMEOUT):  # with more time or memory it may go on
                for made in self.store.checkpoints(case, cell.implementation, key):
                    made.unlink()
        self.store.retire(case, replaced, wanted.references)

    def add_failed(self, wanted: Experiment, case: Case, missing: list[str], reason: str) -> None:
        """Store that a case took the machines with it that were to measure it; as if on `machine`."""
        group = _now() if wanted.timed else None
        end = {wanted.measurements[0].name: [End(Status.FAILED, reason)]}
        cells = [self._cell(case, implementation, end, group) for implementation in missing]
        self.add(wanted, case, cells, self.machine.environment)

    def _checkpoint(self, case: Case, implementation: str) -> Path:
        """Return where the training of a cell keeps how far it is; what is there and cannot be used is set aside."""
        version = _known(self.machine, implementation).version
        key = self._key(case, implementation, self.machine.environment)
        path = self.store.checkpoint(case, implementation, key, digest([self.sources.all, version], 8))
        if problem := checkpoint.damaged(path):
            self.store.set_aside(path, "checkpoint", f"training starts anew ({problem})")
        return path

    def _key(self, case: Case, implementation: str, on: Environment) -> str:
        versions = {"python": on.python, "torch": on.torch, "device_model": on.device_model}
        return digest([asdict(case), implementation, versions], 8)

    def _found(self, case: Case, implementation: str, machine: Machine) -> Cells:
        return self.store.found(case, implementation, self._key(case, implementation, machine.environment))

    def _current(self, case: Case, implementation: str) -> bool:
        """Tell whether there is a cell that would come out the same today on one of the machines.

        As far as anyone can tell without measuring.
        """
        return any(self._current_on(machine, case, implementation) for machine in self._machines)

    def _current_on(self, machine: Machine, case: Case, implementation: str) -> bool:
        known, allowed = _known(machine, implementation), self._allowed(machine)
        cells = self._found(case, implementation, machine).values()
        return any(current(cell, self.sources, known, allowed) for cell in cells)

    def _allowed(self, machine: Machine) -> Allowed:
        memory = self.memory / GIB if self.memory else machine.memory_gib
        return Allowed(self.timeout, memory, machine.gpu_memory_gib)

    def _cell(
        self, case: Case, implementation: str, ends_of: Ends, group: str | None, reference_only: bool = False
    ) -> StoredCell:
        known, allowed = _known(self.machine, implementation), self._allowed(self.machine)
        cell = StoredCell(
            case=case,
            implementation=implementation,
            computes=known.computes,
            library=known.library,
            library_version=known.version,
            round_group=group,
            reference_only=reference_only,
            timeout_s=allowed.timeout_s,
            memory_gib=allowed.memory_gib,
            gpu_memory_gib=allowed.gpu_memory_gib,
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        merged = merge(cell, ends_of)
        given = [file for file in (self.files.get(implementation), self._model(case)) if file]
        own = {experiment.file(case.experiment), *map(self.sources.name, given)}
        if any(end.sources is None for ends in ends_of.values() for end in ends):
            own |= self.sources.behind(own)  # a worker did not live to tell what it had imported
        sources = self.sources.at_work(own - merged.sources.keys()) | merged.sources
        unmeasured = merged.status in (Status.UNAVAILABLE, Status.FAILED)
        return replace(merged, sources=sources, lacking=merged.lacking or (known.lacking if unmeasured else ""))


def _known(machine: Machine, implementation: str) -> Implementation:
    """Return what a machine has said of an implementation; nothing of what an experiment compares in their place."""
    return machine.implementations.get(implementation, Implementation())


def _now() -> str:
    """Return the name of a round group that begins now."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
