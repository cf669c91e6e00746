"""The store of cells: one JSON file each, written whole or not at all, with a digest that tells whether it still is."""

import fcntl
import glob
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from experiments.harness.records import Case, Environment, StoredCell
from experiments.harness.records.cells import parse_file, seal, to_json
from experiments.harness.records.files import PART, write_whole
from experiments.harness.records.serial import digest
from experiments.harness.refusals import NotWritable

REQUIRED = ("format", "case", "implementation", "status", "reference_only", "rows", "sources", "environment")
SOURCES = "sources.json"
Cells = dict[Path, StoredCell]
"""Cells by their file."""


class Store:
    """The cells under `results`; `warnings` collects what was set aside, a line each."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.cells = results / "cells"
        self.warnings: list[str] = []
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.cells):
                pass
        except OSError as error:
            raise NotWritable(f"the results folder {results} cannot be written: {error.strerror}") from None

    @contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Keep other runs out of this folder; `waiting` is called where one is at work, until which this one waits.

        The system lets go of the lock when its process ends, however that comes. Where a file system knows no locks
        nothing is kept out. What a run that was killed left half written is removed.
        """
        with (self.cells / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                yield
                return
            for torn in self.cells.rglob(f".*{PART}"):
                torn.unlink(missing_ok=True)
            yield

    def path(self, case: Case, implementation: str, key: str, group: str | None) -> Path:
        """Return where a cell lies."""
        name = ".".join(filter(None, [implementation, key, group, "json"]))
        return self.cells / case.experiment / case.folder / name

    def write_cell(self, path: Path, cell: StoredCell) -> None:
        """Store a cell, sealed. Raises NotWritable."""
        self._write(path, seal(cell))

    def write_sources(self, commit: str, sources: dict[str, str]) -> None:
        """Store the digests of all sources that are there now, for those who read the folder. Raises NotWritable."""
        self._write(self.cells / SOURCES, to_json({"commit": commit, "sources": sources}))

    def write_environment(self, environment: Environment) -> str:
        """Store an environment once; return its digest. Raises NotWritable."""
        name = digest(asdict(environment))
        path = self.cells / "environments" / f"{name}.json"
        text = to_json(asdict(environment))
        if not path.is_file() or path.read_bytes() != text.encode():  # none yet, or a damaged one
            self._write(path, text)
        return name

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, text.encode())
        except OSError as error:
            raise NotWritable(
                f"the results folder {self.results} cannot be written: {error.strerror}; what is finished is kept, and "
                "the same command goes on from there"
            ) from None

    def found(self, case: Case, implementation: str, key: str) -> Cells:
        """Read the cells of one implementation in one case; damaged files are set aside."""
        cells = self._read(case, f"{glob.escape(implementation)}.{key}.*json")
        return {path: cell for path, cell in cells.items() if cell.implementation == implementation}

    def all(self, case: Case) -> Cells:
        """Read the cells of a case; damaged files are set aside."""
        return self._read(case, "*.json")

    def _read(self, case: Case, pattern: str) -> Cells:
        paths = sorted((self.cells / case.experiment / case.folder).glob(pattern))
        return {path: cell for path in paths if (cell := self.read(path))}

    def read(self, path: Path) -> StoredCell | None:
        """Read one cell; a damaged file is set aside, and then there is none."""
        try:
            text = path.read_bytes()
            raw = json.loads(text)
            if not isinstance(raw, dict) or any(name not in raw for name in REQUIRED):
                raise ValueError("fields are missing")
            cell = parse_file(raw, text)
        except (ValueError, OSError, RecursionError) as error:
            self.set_aside(path, "cell", f"is measured again ({error})")
            return None
        return cell

    def set_aside(self, path: Path, what: str, so: str) -> None:
        """Keep a damaged file under another name, and warn."""
        aside = path.with_suffix(".damaged")
        os.replace(path, aside)
        self.warnings.append(f"a damaged {what} was set aside as {aside.relative_to(self.results)} and {so}")

    def newest(self, case: Case) -> str:
        """Return when the case's newest cell was finished; empty where there is none."""
        return max((cell.finished for cell in self.all(case).values()), default="")

    def retire(self, case: Case, replaced: Cells, references: tuple[str, ...]) -> None:
        """Remove replaced cells, but keep the references that others of their round group are compared with.

        A round group of which only references are left goes altogether.
        """
        for path, cell in replaced.items():
            if cell.implementation in references:
                self.write_cell(path, replace(cell, reference_only=True))
            else:
                path.unlink(missing_ok=True)
        groups: dict[str, Cells] = {}
        for path, cell in self.all(case).items():
            if cell.round_group:
                groups.setdefault(cell.round_group, {})[path] = cell
        for cells in groups.values():
            if all(cell.reference_only for cell in cells.values()):
                for path in cells:
                    path.unlink()

    def checkpoint(self, case: Case, implementation: str, key: str, sources: str) -> Path:
        """Return where a training keeps how far it is; with other sources it has another place."""
        return self.results / "checkpoints" / case.experiment / case.folder / f"{implementation}.{key}.{sources}.pt"

    def checkpoints(self, case: Case, implementation: str, key: str) -> list[Path]:
        """Return all checkpoints of one cell, of whatever sources."""
        whole = self.checkpoint(case, glob.escape(implementation), key, "*")
        found = whole.parent.glob(whole.name)
        return sorted(path for path in found if path.name.count(".") == whole.name.count("."))  # no other has its name
