"""Flatten and rebuild pytrees of tensors by generated Python expressions.

`torch.utils._pytree` walks a tree in Python: for a dozen tensors that takes 20 to 40 µs, as long as a small inner step.
A trace has one structure for good, so the walk is done once, and what remains for each call is an expression such as
`(tree[0].dense['0.weight'], …)`, which takes less than 1 µs.
"""

from collections.abc import Callable
from typing import Any

from torch.utils import _pytree as pytree


def flattener(example: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Make a function that lists the leaves of pytrees with the structure of `example`, as `tree_leaves` does."""
    paths, _ = pytree.tree_flatten_with_path(example)
    leaves = "".join(f"tree{pytree.keystr(path)}, " for path, _ in paths)
    function: Callable[[Any], tuple[Any, ...]] = eval(f"lambda tree: ({leaves})")
    return function


def builder(example: Any) -> Callable[[Any], Any]:
    """Make a function that builds a pytree with the structure of `example` from a sequence of its leaves.

    The expression is the tree's own representation, with `leaves[i]` in the place of leaf i.
    """
    kinds: dict[str, type] = {}  # the named tuples, which the expression calls by name

    def note_kind(node: Any) -> bool:
        kinds[type(node).__name__] = type(node)
        return False

    leaves, structure = pytree.tree_flatten(example, is_leaf=note_kind)
    tree = pytree.tree_unflatten([_Leaf(i) for i in range(len(leaves))], structure)
    function: Callable[[Any], Any] = eval(f"lambda leaves: {tree!r}", kinds)
    return function


class _Leaf:
    """The place of a leaf in an expression."""

    def __init__(self, position: int) -> None:
        self.position = position

    def __repr__(self) -> str:
        return f"leaves[{self.position}]"
