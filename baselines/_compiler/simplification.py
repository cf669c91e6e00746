"""Rewrite a traced graph into a plainer one of the same function, but for the order of roundings.

Derivatives of linear layers come out as transposes of products, through views that change nothing. A compiler takes
them as they come: it reads matrices against their layout, multiplies them the slow way round, and calls a library for
products with a vector.
"""

import operator
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
PRODUCTS = (aten.mm.default, aten.bmm.default)
POOLING = aten.max_pool2d_with_indices.default
CONVERSION = torch.ops.prims.convert_element_type.default
SAME_ELEMENTS = (
    aten.view.default,
    aten._unsafe_view.default,
    aten.expand.default,
    aten.alias.default,
    aten.detach.default,
)


def simplify(graph: fx.Graph) -> None:
    """Rewrite views, transposes, products with a vector and max-pooling indices, in place."""
    # Drop views of the same shape
    for node in list(graph.nodes):
        if node.target in SAME_ELEMENTS and _shape(node) == _shape(node.args[0]):
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()

    # Carry transposes to where they cost nothing, users before what they use
    for node in reversed(list(graph.nodes)):
        if _is_transpose(node) and node.users:
            with graph.inserting_before(node):
                node.replace_all_uses_with(_transposed(graph, node.args[0], user=node))
    graph.eliminate_dead_code()

    for node in list(graph.nodes):
        if node.target is operator.getitem and node.args[1] == 1 and node.args[0].target is POOLING:
            _store_as_int32(graph, node)
        if node.users and (sum_ := _product_as_sum(graph, node)) is not None:
            node.replace_all_uses_with(sum_)
    graph.eliminate_dead_code()


def _transposed(graph: fx.Graph, node: Any, user: fx.Node) -> fx.Node:
    """Build nodeᵀ by (ab)ᵀ = bᵀaᵀ, (a + b)ᵀ = aᵀ + bᵀ and aᵀᵀ = a, where nothing but `user` uses node."""
    if _is_transpose(node):
        source: fx.Node = node.args[0]
        return source
    has_one_user = all(other is user or not other.users for other in node.users)
    if has_one_user and node.target in PRODUCTS:
        left, right = node.args
        return _call(graph, node.target, _transposed(graph, right, node), _transposed(graph, left, node))
    terms = node.args if node.target is aten.add.Tensor and not node.kwargs else ()
    if has_one_user and len(node.all_input_nodes) == len(terms) == 2 and len({_shape(a) for a in (node, *terms)}) == 1:
        return _call(graph, node.target, *(_transposed(graph, term, node) for term in terms))
    return _call(graph, aten.transpose.int, node, -2, -1)


def _product_as_sum(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Build a product with a vector as elementwise product and sum, which are compiled together with their users.

    None for any other node.
    """
    if node.target is not aten.mm.default:
        return None
    left, right = node.args
    (rows, inner), columns = _shape(left), _shape(right)[1]
    if 1 not in (rows, inner, columns):
        return None
    with graph.inserting_before(node):
        if inner == 1:
            return _call(graph, aten.mul.Tensor, left, right)
        if columns == 1:
            product = _call(graph, aten.mul.Tensor, left, _call(graph, aten.transpose.int, right, 0, 1))
            return _call(graph, aten.sum.dim_IntList, product, [1], True)
        product = _call(graph, aten.mul.Tensor, _call(graph, aten.transpose.int, left, 0, 1), right)
        return _call(graph, aten.sum.dim_IntList, product, [0], True)


def _store_as_int32(graph: fx.Graph, indices: fx.Node) -> None:
    """Store max-pooling indices as int32: half the memory, and an image never has 2³¹ positions."""
    with graph.inserting_after(indices):
        narrow = _call(graph, CONVERSION, indices, torch.int32)
    with graph.inserting_after(narrow):
        wide = _call(graph, CONVERSION, narrow, torch.int64)
    indices.replace_all_uses_with(wide, delete_user_cb=lambda user: user is not narrow)


def _call(graph: fx.Graph, target: Any, *args: Any) -> fx.Node:
    """Insert a call with its result's shape noted, as tracing would have."""
    node = graph.call_function(target, args)
    node.meta["val"] = target(*fx.map_arg(args, lambda argument: argument.meta["val"]))
    return node


def _is_transpose(node: Any) -> bool:
    """Tell whether an operation exchanges the last two axes."""
    if node.target is aten.t.default:
        return len(_shape(node)) == 2
    if node.target is not aten.transpose.int:
        return False
    axes = len(_shape(node))
    return {axis % axes for axis in node.args[1:]} == {axes - 2, axes - 1}


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)
