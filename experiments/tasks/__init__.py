"""Task families as seeded, digested streams; one file is one family, found by its name."""

import importlib

from experiments.tasks.stream import Family


def family(name: str) -> Family:
    """The family that the file `<name>.py` defines as FAMILY."""
    found: Family = importlib.import_module(f"experiments.tasks.{name}").FAMILY
    return found
