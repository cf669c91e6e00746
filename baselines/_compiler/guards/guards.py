"""Guards: ask before each call whether what the code was made from is still so.

`torch.compile` has guards of its own, made for what its own tracer has read; by default they leave out hooks. Here
everything is asked that Python shows of what ran: containers and attributes are compared with copies, in C and by
identity first, so that to ask takes microseconds. Where something is not as it was, what is read is walked over again:
it may have changed without a difference.
"""

from collections.abc import Callable, Mapping, Set
from itertools import chain, repeat
from operator import getitem, is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines._compiler.guards.execution import Execution
from baselines._compiler.guards.reading import Reading
from baselines._compiler.guards.versions import as_they_are
from baselines.contract import Params

ABSENT = object()
RENEWALS = 8
"""So often the numbers of dicts are taken anew: where values are always assigned again, to ask for them is in vain."""
Attributes = Mapping[nn.Module, Set[str]]


class Guards:
    """What a model and a loss were when `execution` was recorded.

    overwritten: the attributes of modules that are written before they are read.
    unseen: the reasons why guards cannot hold what the call reads, as predicates of the model; empty if they can.
    """

    tensors: list[Tensor]
    parameters: Params
    buffers: Params

    def __init__(self, model: nn.Module, loss: object, execution: Execution, overwritten: Attributes) -> None:
        self.model, self.loss, self.execution = model, loss, execution
        self.overwritten = {id(vars(module)): names for module, names in overwritten.items()}
        self.modules = list(overwritten)  # whose ids are no other's while they are here
        self.noisy: set[int] = set()
        """Namespaces in which something changes that is not read."""
        self.check: Callable[[], bool] | None = None
        reading = self._read()
        self.state = reading.state
        self.hidden = reading.unseen
        self.unseen = list(dict.fromkeys(execution.unseen() + reading.unseen))
        self._watch(reading)

    def hold(self) -> bool:
        """Whether all that is read is as it was."""
        if self.hold_quickly():
            return True
        reading = self._read()
        if reading.state != self.state or reading.unseen != self.hidden:
            return False
        self._watch(reading)
        return True

    def hold_quickly(self) -> bool:
        """Whether all that is read, and all beside it, is the same objects as before; else it is not known."""
        try:
            return self.check is not None and self.check()
        except Exception:  # what was compared has become something that cannot be
            return False

    def forget(self) -> None:
        """Keep no object of the model's alive; the next `hold` walks over it again."""
        self.check = None
        self.parameters, self.buffers, self.tensors = {}, {}, []

    def change(self) -> str:
        """The path of something that is not as it was; empty if there is nothing."""
        return difference(self.state, self._read().state)

    def _read(self) -> Reading:
        return Reading(self.model, self.loss, self.execution, self.overwritten)

    def _watch(self, reading: Reading) -> None:
        """Prepare the comparisons for what was read."""
        if self.check is not None:
            self.noisy |= self._changed_unread()
        self.parameters = dict(self.model.named_parameters())
        self.buffers = dict(self.model.named_buffers())
        self.tensors = [*self.parameters.values(), *self.buffers.values()]
        self.namespaces = reading.namespaces, [dict(names) for _, names in reading.namespaces]
        quiet = [each for each in reading.objects if id(each[2]) not in self.noisy]
        owners, namespaces = [owner for owner, _, _ in quiet], [own for _, _, own in quiet]
        dicts = [each for each in reading.containers if type(each) is dict and each]
        every = self._check_of(reading, set())
        rest = self._check_of(reading, {id(each) for each in (*dicts, *namespaces)})
        numbers, left = as_they_are(owners, dicts), RENEWALS

        def same() -> bool:
            nonlocal numbers, left
            if numbers and numbers():
                return rest()
            if not every():
                return False
            if numbers:
                left -= 1
                numbers = as_they_are(owners, dicts) if left else None
            return True

        checks = [same]
        if reading.empty:
            checks.append(lambda: not any(hasattr(owner, name) for owner, name in reading.empty))
        if reading.constants:
            checks.append(lambda: all(torch.equal(now, copy) for now, copy in reading.constants))
        if reading.arrays:
            checks.append(lambda: all(map(np.array_equal, *zip(*reading.arrays, strict=True))))
        for i, (owner, own) in enumerate(reading.namespaces):
            if owner in self.noisy:
                read = reading.names - self.overwritten.get(owner, set())
                checks.append(_of_what_is_read(own, self.namespaces[1][i], read))
        self.check = same if checks == [same] else lambda: all(check() for check in checks)

    def _check_of(self, reading: Reading, known: Set[int]) -> Callable[[], bool]:
        """A check of everything beside the dicts whose ids are `known` to be as they were."""
        quiet = [i for i, (owner, _) in enumerate(reading.namespaces) if owner not in self.noisy and owner not in known]
        contained = [each for each in reading.containers if id(each) not in known]
        empty = [each for each in contained if not each]  # as most of a module's are
        filled = [each for each in contained if each]
        live = [reading.namespaces[i][1] for i in quiet] + filled
        copies = [self.namespaces[1][i] for i in quiet] + [each.copy() for each in filled]
        items = [item for item in reading.items if id(item[0]) not in known]
        alone = [item for item in items if type(item[2]).__eq__ is object.__eq__]  # equal to themselves alone
        others = [item for item in items if type(item[2]).__eq__ is not object.__eq__]
        spaces, names, members = map(list, _columns(alone))
        containers, keys, values = _columns(others)
        bare = [each for each in reading.attributes if each[2] is None]  # as are tensors' hooks
        unset, hooks, nothing = map(list, _columns(bare))
        owners, attributes, set_to = _columns([each for each in reading.attributes if each[2] is not None])
        single = values + set_to
        objects, classes, namespaces = _columns([each for each in reading.objects if id(each[2]) not in known])
        kinds = list(classes)
        ordered = [each for each in reading.ordered if id(each) not in known]
        order = list(chain.from_iterable(ordered))
        without, absent = [space.keys() for space, _ in reading.absent], [frozenset(n) for _, n in reading.absent]
        shown = bool(live or objects or ordered)

        def same() -> bool:
            return (
                not any(empty)
                and list(map(getitem, spaces, names)) == members
                and list(map(getattr, unset, hooks)) == nothing
                and all(map(frozenset.isdisjoint, absent, without))
                and all(map(is_, chain(map(getitem, containers, keys), map(getattr, owners, attributes)), single))
                and (
                    not shown
                    or (
                        live == copies
                        and list(map(type, objects)) == kinds
                        and all(map(is_, map(vars, objects), namespaces))
                        and list(chain.from_iterable(ordered)) == order
                    )
                )
            )

        return same

    def _changed_unread(self) -> set[int]:
        """The namespaces that differ from their copies although what is read does not."""
        return {owner for (owner, names), copy in zip(*self.namespaces, strict=True) if not _equal(names, copy)}


def _of_what_is_read(own: Mapping[str, Any], copy: dict[str, Any], names: set[str]) -> Callable[[], bool]:
    """A check of those attributes alone that are read; the same objects, and none that there was not."""
    read = [name for name in copy if name in names]
    values, absent = [copy[name] for name in read], names - copy.keys()
    return lambda: all(map(is_, map(own.get, read, repeat(ABSENT)), values)) and own.keys().isdisjoint(absent)


def difference(before: dict[str, object], after: dict[str, object]) -> str:
    """The first path at which two states differ; empty if they do not."""
    for path in (*before, *after):
        if before.get(path, ABSENT) != after.get(path, ABSENT):
            return path
    return ""


def _columns(rows: list[tuple[Any, Any, Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*rows, strict=True)) if rows else ((), (), ())


def _equal(a: object, b: object) -> bool:
    try:
        return bool(a == b)
    except Exception:
        return False
