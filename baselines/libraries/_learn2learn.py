"""learn2learn's algorithms without the rest of learn2learn.

`import learn2learn` also imports its vision and gym parts, which need torchvision and gym; the algorithms need
neither, and torchvision's wheels do not load beside a CPU build of torch. Where the ordinary import fails, the
package is entered without running its `__init__`: a bare module with the right `__path__` stands for it, and
`learn2learn.algorithms` then loads from the released, unmodified files.
"""

import importlib
import importlib.util
import sys
from types import ModuleType


def algorithms() -> ModuleType:
    """The module `learn2learn.algorithms`.

    Raises ImportError where learn2learn is not installed or its algorithms do not load.
    """
    try:
        importlib.import_module("learn2learn")
    except Exception:  # whatever torchvision or gym raise, a RuntimeError among them
        _enter_without_init()
    return importlib.import_module("learn2learn.algorithms")


def _enter_without_init() -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "learn2learn"]:
        del sys.modules[name]  # the half-imported remains
    spec = importlib.util.find_spec("learn2learn")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("learn2learn is not installed")
    package = ModuleType("learn2learn")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["learn2learn"] = package
