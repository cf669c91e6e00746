"""Ask in C++, by PyTorch's own guards, whether dicts are the very ones that they were, with the same entries.

Python 3.11 numbers every change of a dict. A number that is the same says that nothing has changed; another says
nothing, since a value may have been assigned again. Later versions only tell those who watch, and not of every
attribute (with 3.13 and PyTorch 2.13, assigning one is missed), so there nothing is asked here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any


def as_they_are(owners: Sequence[object], dicts: Sequence[Mapping[Any, Any]]) -> Callable[[], bool] | None:
    """A check that objects have the class, namespace and attributes that they have now, and dicts their entries.

    It may fail where nothing has changed. None where Python has no such numbers, or PyTorch no such guards.
    """
    if sys.version_info >= (3, 12):
        return None
    try:
        from torch._C._dynamo.guards import RootGuardManager
        from torch._dynamo.guards import GuardManagerType

        kind = GuardManagerType.GUARD_MANAGER
        root: Any = RootGuardManager()
        asked: dict[int, object] = dict(enumerate((*owners, *dicts)))
        for key, value in asked.items():
            guard = root.dict_getitem_manager(key, "", value, kind)
            if key < len(owners):
                guard.add_type_match_guard(id(type(value)), [""], None)
                value = vars(value)
                guard = guard.get_generic_dict_manager("", value, kind)
            guard.add_dict_version_guard(value, [""], None)
        return partial(root.check, asked)
    except Exception:  # not public: a release may change it
        return None
