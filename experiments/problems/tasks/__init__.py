"""Task families as seeded, digested streams; one file is one family, found by its name."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from experiments.problems.tasks.episodes import Classes, Episodes
from experiments.problems.tasks.stream import Family, Stream

_on_demand: set[str] = set()  # what was imported for a family that was asked for by its name


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


def forget() -> None:
    """Take the families asked for so far out of this process, as if it had none.

    A process measures one case after the other, and the sources of a cell are those that its own case needs.
    """
    for module in _on_demand:
        sys.modules.pop(module, None)
    _on_demand.clear()


def _found(name: str) -> Any:
    before = set(sys.modules)
    found = importlib.import_module(f"experiments.problems.tasks.{name}").FAMILY
    _on_demand.update(new for new in sys.modules.keys() - before if new.startswith("experiments."))
    return found
