"""`meta_step`s that are wrong on purpose, right in odd ways, or unusable, each with its diagnosis in its docstring.

Every file can be loaded alone, as `maml-bench audit` loads a user's. A docstring ends with what is expected in square
brackets, `[first-order, sum-over-tasks]`, notes after a semicolon, `[maml; modes-changed]`. They are read here without
importing the files.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
DIAGNOSIS = re.compile(r"\[([^\[\];]*)(?:;([^\[\]]*))?\]$")


class Mutant(NamedTuple):
    """One `meta_step`: what it is called, where it is, and what an audit has to say of it."""

    name: str
    file: Path
    function: str
    expected: tuple[str, ...]
    """Identifiers of the catalogue; maml, fomaml or reptile for a right one; one word for an unusable one."""
    notes: tuple[str, ...]


def mutants() -> list[Mutant]:
    """Every deliberately wrong `meta_step`, by file and line."""
    files = (f for f in sorted(HERE.glob("*.py")) if not f.stem.startswith(("__", "right", "unusable")))
    return [m for file in files for m in _read(file)]


def right_ones() -> list[Mutant]:
    """Every right one, by file and line."""
    return [m for file in sorted(HERE.glob("right*.py")) for m in _read(file)]


def unusable_ones() -> list[Mutant]:
    """Every one that can't be audited, by line."""
    return _read(HERE / "unusable.py")


def _read(file: Path) -> list[Mutant]:
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and (match := DIAGNOSIS.search(ast.get_docstring(node) or "")):
            expected, notes = (
                tuple(word.strip() for word in part.split(",") if word.strip()) for part in match.groups("")
            )
            found.append(Mutant(f"{file.stem}.{node.name}", file, node.name, expected, notes))
    return found
