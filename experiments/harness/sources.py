"""The files behind cells, as the parent process sees them: whether they are still as they were when it was measured."""

import functools
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from experiments.harness.processes.imports import EDITED, USERS, file_of
from experiments.harness.records import StoredCell
from experiments.harness.records.files import sha256
from experiments.harness.status import ROOT

MEASURING = ("baselines", "experiments", "maml_bench")  # the project's folders that a measuring process imports from


class Sources:
    """The present content of files, each looked at once.

    external: the user's own files, by the name under which workers import them; helpers: the names of the modules
    that these import.
    """

    def __init__(self, external: dict[str, Path], helpers: Iterable[str] = ()) -> None:
        self.external, self.helpers = external, tuple(helpers)
        self.known: dict[str, str] = {}

    def unchanged(self, cell: StoredCell) -> bool:
        """Tell whether every file that measuring the cell imported has the same content today."""
        return all(self.now(name) == then for name, then in cell.sources.items())

    def changed(self, cell: StoredCell) -> bool:
        """Tell whether a file of the project, or of the user's that this run knows, has other content today."""
        now = self.recorded()
        return any(
            now.get(name, "") != then
            for name, then in cell.sources.items()
            if name in now or name.startswith(tuple(f"{folder}/" for folder in MEASURING))
        )

    @functools.cached_property
    def all(self) -> dict[str, str]:
        """Return the digest of all code that a worker may import."""
        ours = [path for folder in MEASURING for path in sorted((ROOT / folder).rglob("*.py"))]
        names = [*(path.relative_to(ROOT).as_posix() for path in ours), *self.external, *self.helpers]
        return {name: self.now(name) for name in names}

    def name(self, file: Path) -> str:
        """Return what a cell calls an implementation's file."""
        outside = [name for name, path in self.external.items() if path == file]
        return outside[0] if outside else file.resolve().relative_to(ROOT).as_posix()

    def behind(self, own: set[str]) -> set[str]:
        """Return all that may be imported by a worker that measures with files of these names."""
        others = {name for name in self.external if name not in own}
        return {name for name in self.all if name.partition("/")[0] not in others}

    def at_work(self, names: Iterable[str]) -> dict[str, str]:
        """Return the digests of files that no worker has told of, or that they were edited since this run began."""
        return {name: self.now(name) if self.now(name) == self._look(name) else EDITED for name in names}

    def recorded(self) -> dict[str, str]:
        """Return what a results folder keeps: the digests of the project's sources, and of the user's that it knew.

        One of the user's that is gone has an empty digest.
        """
        kept = {name: digest for name, digest in self.known.items() if digest or name.startswith(USERS)}
        return self.all | kept

    def know(self, names: Iterable[str]) -> None:
        """Look at files that are named by a cell of this run."""
        for name in names:
            self.now(name)

    def afresh(self) -> "Sources":
        """Look at the same files again."""
        again = Sources(self.external, self.helpers)
        again.know(self.known)
        return again

    def now(self, name: str) -> str:
        """Return the digest of a file; empty where there is none."""
        if name not in self.known:
            self.known[name] = self._look(name)
        return self.known[name]

    def _look(self, name: str) -> str:
        file = file_of(name, self.external)
        with suppress(OSError):  # a damaged cell may name anything
            return sha256(file) if file and file.is_file() else ""
        return ""
