"""Every implementation that is compared. One file is one implementation; it is found by being there.

`names()` and `misuses()` only list files, so that a broken or missing library never stops anything; `load` imports one.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import get_args

from baselines.contract import Baseline, Computes

HERE = Path(__file__).parent
MISUSES = HERE / "misuse"


def names() -> dict[str, Path]:
    """Name → file of every implementation in this folder's packages, in alphabetical order."""
    return _files(folder for folder in HERE.glob("[!_]*") if folder != MISUSES)


def misuses() -> dict[str, Path]:
    """Name → file of every known misuse of a library: what people write, and what is not MAML."""
    return _files([MISUSES])


def find(name: str) -> Path:
    """The file of an implementation or a misuse; raises KeyError."""
    return (names() | misuses())[name]


def _files(folders: Iterable[Path]) -> dict[str, Path]:
    files = (file for folder in folders for file in folder.glob("*.py") if not file.stem.startswith("_"))
    return {name_of(file): file for file in sorted(files, key=name_of)}


def name_of(file: Path) -> str:
    """`first_order/higher_first_order.py` → `higher-first-order`."""
    return file.stem.replace("_", "-")


def load(file: Path) -> type[Baseline]:
    """The one Baseline class that `file` defines.

    Raises ImportError where the file does not define exactly one, and whatever importing it raises.
    """
    module = _import(file.resolve())
    found = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Baseline) and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"{file.name} defines {len(found)} subclasses of maml_bench.Baseline, not one")
    if getattr(found[0], "computes", None) not in get_args(Computes):
        allowed = ", ".join(map(repr, get_args(Computes)))
        raise ImportError(f"{file.name}: {found[0].__name__}.computes is not one of {allowed}")
    return found[0]


def _import(file: Path) -> ModuleType:
    if file.is_relative_to(HERE):
        return importlib.import_module(".".join(("baselines", *file.relative_to(HERE).with_suffix("").parts)))
    spec = importlib.util.spec_from_file_location(f"external_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickling look a module up by its name
    spec.loader.exec_module(module)
    return module
