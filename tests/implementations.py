"""Which implementations there are, by what their classes say of themselves; importing all of them takes seconds."""

import baselines
from baselines.contract import Baseline


def importable() -> dict[str, type[Baseline]]:
    """Return the class of every built-in implementation whose library is there, by name."""
    classes = {}
    for name, file in baselines.names().items():
        try:
            classes[name] = baselines.load(file)
        except ImportError:
            continue
    return classes


CLASSES = importable()
COMPILED = {name for name, kind in CLASSES.items() if kind.compiles}
"""Those that compile, which takes them seconds for each shape."""
OURS = sorted(name for name, kind in CLASSES.items() if kind.library is None and name != "notebook")
"""Those of no library, for any network; `notebook` serves what the notebook does."""


def of_library(*libraries: str) -> set[str]:
    """Name those that measure one of these libraries."""
    return {name for name, kind in CLASSES.items() if kind.library in libraries}
