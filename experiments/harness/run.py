"""A run: plan the cells that are missing, have them measured, store each as soon as it is finished."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.harness import experiment
from experiments.harness.case import Case, Json, Options, digest
from experiments.harness.experiment import Experiment, Pass
from experiments.harness.store import FORMAT, Sources, Store
from experiments.harness.turns import Advance, Job, in_turns, side_by_side

DEFAULT_TIMEOUT_S = 4 * 3600.0
Reporter = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows the progress of a label over a number of cells."""


def silent(label: str, cells: int) -> AbstractContextManager[Advance]:
    """A reporter that shows nothing."""
    return nullcontext(lambda done: None)


@dataclass
class Plan:
    """What is to be measured, and where.

    files: implementation → its file; external: those of them, and the model's, that lie outside the project.
    """

    experiments: list[str]
    files: dict[str, Path]
    external: list[Path]
    options: Options
    description: dict[str, Json]
    results: Path
    model_file: Path | None = None
    timeout: float = DEFAULT_TIMEOUT_S
    fresh: bool = False
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.results)
        self.sources = Sources(self.external)

    def todo(self, name: str) -> Iterator[tuple[Case, list[str], list[str]]]:
        """Every case with its subjects: those to be measured, and those that are there already."""
        wanted = experiment.load(name)
        subjects = list(wanted.subjects or self.files)
        for case in wanted.cases(self.options):
            missing = [s for s in subjects if self.fresh or not self._current(case, s)]
            yield case, missing, [s for s in subjects if s not in missing]

    def run(self, reporter: Reporter = silent) -> None:
        """Measure everything that is missing."""
        self.environment = self.store.write_environment(self.description["environment"])
        for name in self.experiments:
            wanted = experiment.load(name)
            self.store.write(self.store.cells / name / "experiment.json", wanted.declaration(name))
            todo = [(case, missing) for case, missing, _ in self.todo(name) if missing]
            measure = self._with_turns if wanted.timed else self._side_by_side
            with reporter(name, sum(len(missing) for _, missing in todo)) as advance:
                measure(wanted, todo, advance)

    # -- measuring

    def _side_by_side(self, wanted: Experiment, todo: list[tuple[Case, list[str]]], advance: Advance) -> None:
        (only,) = wanted.passes
        jobs = [self._job(case, subject, only) for case, missing in todo for subject in missing]
        for job in side_by_side(jobs, self.options.threads, advance):
            self._store(job.case, job.subject, {only.name: job.answers}, None)

    def _with_turns(self, wanted: Experiment, todo: list[tuple[Case, list[str]]], advance: Advance) -> None:
        for case, missing in todo:
            group = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            beside = [s for s in wanted.references if s in self.files and s not in missing]
            answers: dict[str, dict[str, list[dict[str, Json]]]] = {s: {} for s in missing + beside}
            share = len(missing) / (len(answers) * len(wanted.passes))

            def step(done: float, share: float = share) -> None:
                advance(done * share)

            for step_pass in wanted.passes:
                jobs = [self._job(case, s, step_pass) for s, so_far in answers.items() if _ok(so_far)]
                if step_pass.timed:
                    processes = step_pass.processes[self.options.profile]
                    in_turns(jobs, processes, self.options.threads, step, seed=case.seed)
                else:
                    for _ in side_by_side(jobs, self.options.threads, step):
                        pass
                for job in jobs:
                    answers[job.subject][step_pass.name] = job.answers
            replaced = [path for s in missing for path in self._found(case, s)]
            for subject, by_pass in answers.items():
                self._store(case, subject, by_pass, group, reference_only=subject in beside)
            self._drop(case, replaced)

    def _job(self, case: Case, subject: str, step: Pass) -> Job:
        file = self.files.get(subject)
        outside = file if file in self.external else None
        return Job(case, subject, outside, self.model_file, step, self.timeout)

    # -- the store

    def _key(self, case: Case, subject: str) -> str:
        known = self.description["implementations"].get(subject, {})
        environment = self.description["environment"]
        versions = {name: environment[name] for name in ("python", "torch", "device_model")}
        return digest([case.json(), subject, known.get("library"), known.get("version"), versions], 8)

    def _found(self, case: Case, subject: str) -> dict[Path, dict[str, Json]]:
        return self.store.found(case, subject, self._key(case, subject))

    def _current(self, case: Case, subject: str) -> bool:
        return any(
            self.sources.unchanged(cell) and not cell["reference_only"] for cell in self._found(case, subject).values()
        )

    def _drop(self, case: Case, replaced: list[Path]) -> None:
        """Remove replaced cells, and round groups of which only the references are left."""
        for path in replaced:
            path.unlink(missing_ok=True)
        for paths in self.store.groups(case).values():
            cells = [self.store.read(path) for path in paths]
            if all(cell and cell["reference_only"] for cell in cells):
                for path in paths:
                    path.unlink()

    def _store(
        self,
        case: Case,
        subject: str,
        by_pass: dict[str, list[dict[str, Json]]],
        group: str | None,
        reference_only: bool = False,
    ) -> None:
        known = self.description["implementations"].get(subject, {})
        cell: dict[str, Any] = {
            "format": FORMAT,
            "experiment": case.experiment,
            "case": case.json(),
            "implementation": subject,
            "computes": known.get("computes", ""),
            "library": known.get("library", ""),
            "library_version": known.get("version", ""),
            "environment": self.environment,
            "round_group": group,
            "reference_only": reference_only,
            **merge(by_pass),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self.statuses[cell["status"]] = self.statuses.get(cell["status"], 0) + 1
        self.store.write(self.store.path(case, subject, self._key(case, subject), group), cell)


def _ok(by_pass: dict[str, list[dict[str, Json]]]) -> bool:
    return all(answer["status"] == "ok" for answers in by_pass.values() for answer in answers)


def merge(by_pass: dict[str, list[dict[str, Json]]]) -> dict[str, Json]:
    """One cell from the answers of its passes and their processes.

    Rows are merged; samples stay apart by process; the first answer that is not ok decides the status.
    """
    answers = [answer for group in by_pass.values() for answer in group]
    bad = next((answer for answer in answers if answer["status"] != "ok"), None)
    last = answers[-1]
    row: dict[str, Json] = {}
    cell: dict[str, Any] = {
        "status": bad["status"] if bad else "ok",
        "reason": bad["reason"] if bad else "",
        "note": last.get("note", ""),
        "stream_digest": last.get("stream_digest", ""),
        "init_digest": last.get("init_digest", ""),
        "empty": {},
        "samples": {},
        "observations": {},
        "series": {},
        "sources": {},
    }
    for answer in answers:
        cell["sources"] |= answer.get("sources", {})
        cell["empty"] |= answer.get("empty", {})
        row |= answer.get("row", {})
        if bad is None:
            for name, values in answer["samples"].items():
                cell["samples"].setdefault(name, []).append(values)
            cell["observations"] |= answer["observations"]
            cell["series"] |= answer["series"]
    cell["rows"] = last.get("rows") or [bad.get("row", {}) if bad else row]
    return cell
