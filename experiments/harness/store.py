"""The store of cells: one JSON file each, written whole or not at all, with a digest that tells whether it still is."""

import fcntl
import functools
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.harness.case import Case, Json, digest, sha256
from experiments.harness.refusals import NotWritable
from experiments.harness.status import ROOT

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
        paths = sorted((self.cells / case.experiment / case.id).glob(f"{implementation}.{key}.*json"))
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

    def checkpoint(self, case: Case, implementation: str, key: str, sources: str) -> Path:
        """Where a training run keeps how far it is; other sources have another place."""
        return self.results / "checkpoints" / case.experiment / case.id / f"{implementation}.{key}.{sources}.pt"

    def checkpoints(self, case: Case, implementation: str, key: str) -> list[Path]:
        """All there are of one cell, of whatever sources."""
        whole = self.checkpoint(case, implementation, key, "*")
        return sorted(whole.parent.glob(whole.name))

    def groups(self, case: Case) -> dict[str, list[Path]]:
        """The case's cells by their round group."""
        groups: dict[str, list[Path]] = {}
        for path in (self.cells / case.experiment / case.id).glob("*.json"):
            parts = path.name.split(".")
            if len(parts) == 4:
                groups.setdefault(parts[2], []).append(path)
        return groups


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


class Sources:
    """Whether the files behind a cell are still as they were when it was measured.

    external: the user's own files, by the name under which children import them.
    """

    def __init__(self, external: dict[str, Path]) -> None:
        self.external = external
        self.known: dict[str, str] = {}

    def unchanged(self, cell: dict[str, Json]) -> bool:
        """True if every project file that the measuring process imported has the same content today."""
        return all(self._now(name) == then for name, then in cell["sources"].items())

    def changed(self, cell: dict[str, Json]) -> bool:
        """True if a file of the project, which is all that is at hand of an old cell, has other content today."""
        return any(
            self._now(name) != then for name, then in cell["sources"].items() if not name.startswith("external_")
        )

    @functools.cached_property
    def all(self) -> dict[str, str]:
        """The present content of all code that a measuring process may import."""
        ours = [path for folder in ("baselines", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]
        return {name: self._now(name) for name in [*(str(path.relative_to(ROOT)) for path in ours), *self.external]}

    def of(self, experiment: str, file: Path | None) -> dict[str, str]:
        """The present content of an experiment's file and of an implementation's, if it has one."""
        names = [experiment]
        if file:
            outside = [name for name, path in self.external.items() if path == file]
            names += outside or [str(file.resolve().relative_to(ROOT))]
        return {name: self._now(name) for name in names}

    def _now(self, name: str) -> str:
        if name not in self.known:
            path = self.external.get(name, ROOT / name)
            self.known[name] = sha256(path) if path.is_file() else ""
        return self.known[name]
