"""Flatten and rebuild pytrees of tensors by functions that are made once for a structure.

`torch.utils._pytree` walks a tree in Python: for a dozen tensors that takes 20 to 40 µs, as long as a small inner step.
A trace has one structure for good, so the walk is done once, and what remains for each call is a call in C for each
container.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

Flatten = Callable[[Any], Sequence[Any]]
Build = Callable[[Sequence[Any], int], Any]


def flattener(example: Any) -> Flatten:
    """Make a function that lists the leaves of pytrees with the structure of `example`, as `tree_leaves` does."""
    if not isinstance(example, dict | tuple | list):
        return lambda leaf: (leaf,)
    keys = list(example) if isinstance(example, dict) else list(range(len(example)))
    children = _children(keys)
    nested = [flattener(example[key]) if isinstance(example[key], dict | tuple | list) else None for key in keys]
    if not any(nested):
        return children

    def flatten(tree: Any) -> list[Any]:
        leaves: list[Any] = []
        for child, inner in zip(children(tree), nested, strict=True):
            if inner is None:
                leaves.append(child)
            else:
                leaves.extend(inner(child))
        return leaves

    return flatten


def builder(example: Any) -> Callable[[Sequence[Any]], Any]:
    """Make a function that builds a pytree with the structure of `example` from a sequence of its leaves."""
    build = _plan(example).build
    return lambda leaves: build(leaves, 0)


class _Plan(NamedTuple):
    """How many leaves a tree has, and how it is built from a sequence in which they begin at a position."""

    leaves: int
    build: Build


def _plan(example: Any) -> _Plan:
    if not isinstance(example, dict | tuple | list):
        return _Plan(1, lambda leaves, start: leaves[start])
    plans = [_plan(child) for child in (example.values() if isinstance(example, dict) else example)]
    offsets = [sum(plan.leaves for plan in plans[:i]) for i in range(len(plans))]
    size = sum(plan.leaves for plan in plans)
    parts = [(plan.build, offset) for plan, offset in zip(plans, offsets, strict=True)]
    if isinstance(example, dict):
        keys = list(example)
        if size == len(keys) and all(not isinstance(child, dict | tuple | list) for child in example.values()):
            return _Plan(size, lambda leaves, start: dict(zip(keys, leaves[start : start + size], strict=True)))
        return _Plan(
            size,
            lambda leaves, start: {
                key: build(leaves, start + offset) for key, (build, offset) in zip(keys, parts, strict=True)
            },
        )
    kind = type(example)
    if hasattr(kind, "_fields"):  # a named tuple
        return _Plan(size, lambda leaves, start: kind(*[build(leaves, start + offset) for build, offset in parts]))
    return _Plan(size, lambda leaves, start: kind([build(leaves, start + offset) for build, offset in parts]))


def _children(keys: list[Any]) -> Flatten:
    """Make a function that returns what a container has under these keys, as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return (lambda tree: (tree[keys[0]],)) if keys else lambda tree: ()
