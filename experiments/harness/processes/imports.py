"""What this process has imported: the SHA-256 of each file of the project's or the user's, just before it was run.

A measuring process installs this before it imports anything else, so it imports hardly anything itself. Whatever
belongs neither to Python nor to an installed library is the project's or the user's. In cells a file is called

    baselines/contract.py           the project's, by its path below ROOT, and so any other file there
    external_mine, external_model_net   a file that the user gave
    external_mine/helpers/two.py    a module beside or below it, or `../` at most, by its path from there
    external/library/core.py        any other, such as one on PYTHONPATH, by its module's name

so that a later run finds it again, and no name tells where on this machine it lies.
"""

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import NamedTuple

from experiments.harness.packages import PACKAGES
from experiments.harness.records.files import sha256
from experiments.harness.status import ROOT

ENVIRONMENTS = (".venv", ".nox")  # below ROOT, and not the project's
INSTALLED = ("site-packages", "dist-packages")
USERS = ("external_", "external/")
"""How the name of a file of the user's begins."""
EDITED = "edited"
"""In the place of a digest: of a file of which more than one content was at work. No file has it."""
_PYTHON = tuple(
    {
        f"{folder(sysconfig.get_path(name))}{os.sep}"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        for folder in (os.path.abspath, os.path.realpath)
    }
)


class Module(NamedTuple):
    """A module that was found: its name, the same as a path, such as `library/core.py`, and its file's digest."""

    name: str
    path: str
    digest: str


_found: dict[str, Module] = {}  # by file
_given: dict[str, Path] = {}  # files of the user's that were executed by their path, by name
_executed: dict[str, str] = {}  # their digests


class Finder(MetaPathFinder):
    """Has the other finders find a module, and notes what its file holds before it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module by the first of the other finders that knows it."""
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            if find and (spec := find(fullname, path, target)):
                _note(fullname, spec)
                found: ModuleSpec = spec
                return found
        return None


def install() -> None:
    """Note every import from now on, and at once what has been imported before."""
    sys.meta_path.insert(0, Finder())
    for name, module in list(sys.modules.items()):
        if spec := getattr(module, "__spec__", None):
            _note(name, spec)


def begin() -> None:
    """Begin with another cell: what is loaded stays noted, what is not, or is executed for each cell, does not."""
    for file in [file for file, module in _found.items() if module.name not in sys.modules]:
        del _found[file]
    _given.clear()
    _executed.clear()


def execute(name: str, file: Path) -> None:
    """Note a file of the user's that is about to be executed by its path."""
    _given[name] = file
    now = sha256(file)
    _executed[name] = now if _executed.get(name, now) == now else EDITED


def sources() -> dict[str, str]:
    """Return the digest of every file that was imported for the present cell, by name."""
    found = {name_of(Path(file), module.path, _given): module.digest for file, module in _found.items()}
    return dict(sorted((found | _executed).items()))


def name_of(file: Path, path: str, given: Mapping[str, Path]) -> str:
    """Return what a file is called in cells; `path`: its module's name as a path, `given`: the user's files by name."""
    for place in (file, file.resolve()):
        if (inside := below(place, ROOT)) and inside.parts[0] not in ENVIRONMENTS:
            return inside.as_posix()
    for place in (file, file.resolve()):
        for name, own in given.items():
            if inside := below(place, own.parent):
                return f"{name}/{inside.as_posix()}"
            if inside := below(place, own.parent.parent):
                return f"{name}/../{inside.as_posix()}"
    return f"external/{path}"


def file_of(name: str, given: Mapping[str, Path]) -> Path | None:
    """Find the file that is called so today; None where there is none."""
    if not name.startswith(USERS):
        return ROOT / name
    first, _, rest = name.partition("/")
    if first != "external":
        return given[first].parent / rest if rest and first in given else given.get(first)
    top, *inside = PurePosixPath(rest).parts
    try:
        spec = importlib.util.find_spec(top if inside else PurePosixPath(top).stem)
    except (ImportError, ValueError):
        return None
    if spec is None or not inside:
        return Path(spec.origin) if spec and spec.origin else None
    folders = [Path(folder, *inside) for folder in spec.submodule_search_locations or ()]
    return next((file for file in folders if file.is_file()), None)


def below(file: Path, folder: Path) -> Path | None:
    """Return the path from `folder`; None where the file does not lie below it, or all files do."""
    return file.relative_to(folder) if folder != Path(folder.anchor) and file.is_relative_to(folder) else None


def _note(name: str, spec: ModuleSpec) -> None:
    if not spec.has_location or not spec.origin or _of_python(spec.origin) or not os.path.isfile(spec.origin):
        return
    file = os.path.abspath(spec.origin)
    path = spec.name.replace(".", "/") + ("" if spec.submodule_search_locations is None else "/__init__")
    now, before = sha256(Path(file)), _found.get(file)
    digest = now if before is None or before.digest == now else EDITED
    _found[file] = Module(name, path + os.path.splitext(file)[1], digest)


def _of_python(origin: str) -> bool:
    """Whether a file is Python's or an installed library's, though the project itself may be installed."""
    if (inside := below(Path(origin), ROOT)) and inside.parts[0] in PACKAGES:
        return False
    return origin.startswith(_PYTHON) or any(folder in Path(origin).parts for folder in INSTALLED)
