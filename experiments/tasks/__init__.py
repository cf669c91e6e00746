"""Task families as seeded, digested streams; one file is one family, found by its name."""

import importlib
from collections.abc import Mapping
from typing import Any

from experiments.tasks.episodes import Classes, Episodes
from experiments.tasks.stream import Family, Stream


def family(name: str) -> Family:
    """The regression family that the file `<name>.py` defines as FAMILY."""
    found: Family = _found(name)
    return found


def stream(wanted: Mapping[str, Any], seed: int, tasks: int, purpose: str) -> Stream | Episodes:
    """Meta-batches of the family that a case's parameters name; episodes where they say how many ways."""
    name, shots, queries = wanted["family"], wanted["shots"], wanted["queries"]
    if "ways" not in wanted:
        return Stream(family(name), seed, tasks, shots, queries, purpose)
    classes: Classes = _found(name)
    return Episodes(classes, seed, tasks, wanted["ways"], shots, queries, purpose)


def _found(name: str) -> Any:
    return importlib.import_module(f"experiments.tasks.{name}").FAMILY
