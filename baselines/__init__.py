"""Every implementation that is compared. One file is one implementation; it is found by being there.

`names()` only lists files, so that a broken or missing library never stops anything; `load(name)` imports one.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from baselines.contract import Baseline

HERE = Path(__file__).parent


def names() -> dict[str, Path]:
    """Name → file of every implementation in this folder's packages, in alphabetical order."""
    files = (f for f in HERE.glob("*/*.py") if not f.stem.startswith("_"))
    return {name_of(f): f for f in sorted(files, key=name_of)}


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
        raise ImportError(f"{file.name} defines {len(found)} subclasses of baselines.contract.Baseline, not one")
    if getattr(found[0], "computes", None) not in ("maml", "fomaml", "reptile"):
        raise ImportError(f"{file.name}: {found[0].__name__}.computes is not one of 'maml', 'fomaml', 'reptile'")
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
