"""The store of cells: one JSON file each, written whole or not at all, with a digest that tells whether it still is."""

import fcntl
import glob
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.harness.case import Case, Json, digest
from experiments.harness.refusals import NotWritable

FORMAT = 2  # 1 had no digest; its cells are read as they are
SEAL = '{\n "digest": "'
REQUIRED = ("format", "case", "implementation", "status", "reference_only", "rows", "sources", "environment")


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
            for torn in self.cells.rglob(".*.part"):
                torn.unlink(missing_ok=True)
            yield

    def path(self, case: Case, implementation: str, key: str, group: str | None) -> Path:
        """Where the cell lies."""
        name = ".".join(filter(None, [implementation, key, group, "json"]))
        return self.cells / case.experiment / case.id / name

    def write(self, path: Path, value: Json) -> None:
        """Store `value`, atomically: readers see the whole of it or what was there before. Raises NotWritable."""
        self._write(path, json.dumps(_finite(value), indent=1, allow_nan=False))

    def write_cell(self, path: Path, cell: dict[str, Json]) -> None:
        """The same for a cell, sealed."""
        self._write(path, seal(cell))

    def _write(self, path: Path, text: str) -> None:
        part = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
                part = file.name
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                Path(part).unlink()
            raise NotWritable(
                f"the results folder {self.results} cannot be written: {error.strerror}; what is finished is kept, and "
                "the same command goes on from there"
            ) from None

    def write_environment(self, environment: dict[str, Json]) -> str:
        """Store an environment once; its digest."""
        name = digest(environment)
        path = self.cells / "environments" / f"{name}.json"
        if not path.exists():
            self.write(path, environment)
        return name

    def found(self, case: Case, implementation: str, key: str) -> dict[Path, dict[str, Json]]:
        """The readable cells of one implementation in one case; damaged files are set aside."""
        cells = self._read(case, f"{glob.escape(implementation)}.{key}.*json")
        return {path: cell for path, cell in cells.items() if cell["implementation"] == implementation}

    def all(self, case: Case) -> dict[Path, dict[str, Json]]:
        """The readable cells of a case."""
        return self._read(case, "*.json")

    def _read(self, case: Case, pattern: str) -> dict[Path, dict[str, Json]]:
        paths = sorted((self.cells / case.experiment / case.id).glob(pattern))
        return {path: cell for path in paths if (cell := self.read(path))}

    def read(self, path: Path) -> dict[str, Json] | None:
        """One cell; a damaged file is set aside."""
        try:
            text = path.read_text()
            cell: dict[str, Json] = json.loads(text)
            if not isinstance(cell, dict) or any(name not in cell for name in REQUIRED):
                raise ValueError("fields are missing")
            if cell["format"] not in range(1, FORMAT + 1):
                raise ValueError(f"format {cell['format']}, not 1 to {FORMAT}")
            if cell["format"] > 1 and not sealed(text):
                raise ValueError("it is not as it was written")
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
        """When the case's newest cell was finished; empty where there is none."""
        return max((str(cell["finished"]) for cell in self.all(case).values()), default="")

    def retire(self, case: Case, replaced: dict[Path, dict[str, Json]], references: tuple[str, ...]) -> None:
        """Remove replaced cells, but keep the references that others of their round group are compared with.

        A round group of which only references are left goes altogether.
        """
        for path, cell in replaced.items():
            if cell["implementation"] in references:
                self.write_cell(path, cell | {"reference_only": True})
            else:
                path.unlink(missing_ok=True)
        groups: dict[str, dict[Path, dict[str, Json]]] = {}
        for path, cell in self.all(case).items():
            if cell["round_group"]:
                groups.setdefault(cell["round_group"], {})[path] = cell
        for cells in groups.values():
            if all(cell["reference_only"] for cell in cells.values()):
                for path in cells:
                    path.unlink()

    def checkpoint(self, case: Case, implementation: str, key: str, sources: str) -> Path:
        """Where a training run keeps how far it is; other sources have another place."""
        return self.results / "checkpoints" / case.experiment / case.id / f"{implementation}.{key}.{sources}.pt"

    def checkpoints(self, case: Case, implementation: str, key: str) -> list[Path]:
        """All there are of one cell, of whatever sources."""
        whole = self.checkpoint(case, glob.escape(implementation), key, "*")
        found = whole.parent.glob(whole.name)
        return sorted(path for path in found if path.name.count(".") == whole.name.count("."))  # no other has its name


def seal(cell: dict[str, Json]) -> str:
    """A cell's text, which begins with the SHA-256 of all that follows its second line."""
    fields = {name: value for name, value in cell.items() if name != "digest"} | {"format": FORMAT}
    rest = json.dumps(_finite(fields), indent=1, allow_nan=False).removeprefix("{\n")
    return f'{SEAL}{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'


def sealed(text: str) -> bool:
    """Whether a cell's file holds what was written: what its first field says of all that follows is true."""
    digest, end, rest = text.removeprefix(SEAL).partition('",\n')
    return text.startswith(SEAL) and bool(end) and hashlib.sha256(rest.encode()).hexdigest() == digest


def _finite(value: Json) -> Json:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
