"""Which implementations a run measures: what `--implementations` lists, names and files, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from experiments.harness.refusals import BadRequest

ALL = "all"
OPTION = "--implementations"
SUFFIX = ".py"
"""What ends so is a file; anything else is a name."""


@dataclass(frozen=True)
class Selection:
    """Implementations by name.

    files: the file of each; own: those of them that are the user's, and lie outside the project.
    """

    files: dict[str, Path]
    own: dict[str, Path]


def matches(name: str, pattern: str) -> bool:
    """Whether a case is called so, or as the pattern says (`study-*`): names may have brackets of their own."""
    return name == pattern or fnmatchcase(name, pattern)


def split(text: str) -> list[str]:
    """Split an option's "a, b" at its commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def is_file(entry: str | Path) -> bool:
    """Whether an entry of the list is a file rather than a name."""
    return str(entry).endswith(SUFFIX)


def select(entries: Sequence[str | Path], misuses: bool = False) -> Selection:
    """Find the implementations that are listed; `all` are the built-in ones.

    misuses: whether the known misuses of libraries are among these.

    Raises BadRequest for what is unknown, missing, or listed twice, and for an empty list.
    """
    import baselines  # and with it PyTorch, which the command line's help does without

    built_in = baselines.names() | baselines.misuses()
    known = built_in if misuses else baselines.names()
    if not entries:
        raise BadRequest(f"{OPTION} lists nothing; allowed are {_allowed(known)}")
    files: dict[str, Path] = {}
    own: dict[str, Path] = {}
    names = [str(entry) for entry in entries if not is_file(entry)]
    for name in names:
        if name != ALL and name not in known:
            raise BadRequest(f"unknown implementation '{name}'{_close(name, known)}; allowed are {_allowed(known)}")
        if names.count(name) > 1:
            raise BadRequest(f"{OPTION}: {name} is listed twice")
    for entry in entries:
        if is_file(entry):
            name = baselines.name_of(Path(entry))
            if name in built_in:
                raise BadRequest(f"{OPTION} {entry}: a built-in implementation is named {name}; rename the file")
            own[name] = files[name] = _own_file(name, Path(entry), own)
        elif entry == ALL:
            files |= known
        else:
            files[str(entry)] = known[str(entry)]
    return Selection(files, own)


def python_file(option: str, path: Path) -> Path:
    """Return the path of a Python file, absolute; raises BadRequest, naming the option, where there is none."""
    if path.suffix != SUFFIX or not path.expanduser().is_file():  # after a comma no shell expands `~`
        raise BadRequest(f"{option} {path}: there is no such Python file")
    return path.expanduser().resolve()


def _own_file(name: str, path: Path, others: dict[str, Path]) -> Path:
    """Return the file of a user's implementation, `others` being the files listed before it, by name."""
    if name.startswith("."):
        raise BadRequest(f"{OPTION} {path}: a name that begins with a dot is that of a hidden file")
    file = python_file(OPTION, path)
    if file in others.values():
        raise BadRequest(f"{OPTION} {path}: this file is listed twice")
    if name in others:
        raise BadRequest(f"{OPTION} {path}: {others[name]} is named {name}, too; rename one of them")
    return file


def _close(name: str, known: dict[str, Path]) -> str:
    """Ask whether something similar was meant, where there is any; a file may lack its suffix."""
    similar = get_close_matches(name, [ALL, *known])
    if Path(name + SUFFIX).is_file():
        similar.insert(0, name + SUFFIX)
    return f" (did you mean {' or '.join(similar)}?)" if similar else ""


def _allowed(known: dict[str, Path]) -> str:
    return f"{ALL}, {', '.join(sorted(known))}, and files whose names end in {SUFFIX}"
