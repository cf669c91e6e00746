"""A module of the user's: what the function of a given name in a file of theirs makes."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from torch import nn

from experiments.harness.processes import imports


def from_file(file: Path, factory: str) -> Callable[[], nn.Module]:
    """Return what a user's file calls `factory`; raises whatever executing the file raises."""
    imports.execute(f"external_model_{file.stem}", file)
    spec = importlib.util.spec_from_file_location(f"external_model_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[], nn.Module] = getattr(module, factory)
    return found
