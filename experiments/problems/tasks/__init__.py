"""Look up task families by name, one file each, and make streams of meta-batches of them."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from experiments.problems.tasks.episodes import Classes, Episodes
from experiments.problems.tasks.stream import Family, Stream

_on_demand: set[str] = set()  # modules that were imported to load a task family


def family(name: str) -> Family:
    """Return the task family of regression that the file `<name>.py` of this folder defines as FAMILY."""
    loaded: Family = _load(name)
    return loaded


def stream(params: Mapping[str, Any], seed: int, tasks: int, purpose: str) -> Stream | Episodes:
    """Return a stream of meta-batches of `tasks` tasks as a case has them; of episodes if it has `ways`."""
    name, shots, queries = params["family"], params["shots"], params["queries"]
    if "ways" not in params:
        return Stream(family(name), seed, tasks, shots, queries, purpose)
    classes: Classes = _load(name)
    return Episodes(classes, seed, tasks, params["ways"], shots, queries, purpose)


def forget() -> None:
    """Remove the modules of all task families loaded so far from sys.modules.

    A process measures one case after the other, and a cell's sources must be those that its own case needs.
    """
    for module in _on_demand:
        sys.modules.pop(module, None)
    _on_demand.clear()


def _load(name: str) -> Any:
    before = set(sys.modules)
    loaded = importlib.import_module(f"experiments.problems.tasks.{name}").FAMILY
    _on_demand.update(new for new in sys.modules.keys() - before if new.startswith("experiments."))
    return loaded
