"""What a traced graph says in a roundabout way, said directly; the same function, but for the order of roundings.

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
    """Drop views that change nothing, and carry every transposition to where it costs nothing, in place."""
    for node in list(graph.nodes):
        if node.target in SAME_ELEMENTS and _shape(node) == _shape(node.args[0]):
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    for node in reversed(list(graph.nodes)):  # users before what they use
        if _is_transposition(node) and node.users:
            with graph.inserting_before(node):
                node.replace_all_uses_with(_transposed(graph, node.args[0], of=node))
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node.target is operator.getitem and node.args[1] == 1 and node.args[0].target is POOLING:
            _through_32_bits(graph, node)
        if node.users and (simpler := _without_product(graph, node)) is not None:
            node.replace_all_uses_with(simpler)
    graph.eliminate_dead_code()


def _without_product(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """A product with a vector as elementwise products and sums, which are compiled together with what is around."""
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


def _through_32_bits(graph: fx.Graph, positions: fx.Node) -> None:
    """Positions within an image, which who keeps them can keep at half the size."""
    with graph.inserting_after(positions):
        small = _call(graph, CONVERSION, positions, torch.int32)
    with graph.inserting_after(small):
        large = _call(graph, CONVERSION, small, torch.int64)
    positions.replace_all_uses_with(large, delete_user_cb=lambda user: user is not small)


def _transposed(graph: fx.Graph, node: Any, of: fx.Node) -> fx.Node:
    """nodeᵀ: (ab)ᵀ = bᵀaᵀ, (a + b)ᵀ = aᵀ + bᵀ, aᵀᵀ = a, where nothing but the transposition `of` uses node."""
    if _is_transposition(node):
        found: fx.Node = node.args[0]
        return found
    alone = all(user is of or not user.users for user in node.users)
    if alone and node.target in PRODUCTS:
        left, right = node.args
        return _call(graph, node.target, _transposed(graph, right, node), _transposed(graph, left, node))
    terms = node.args if node.target is aten.add.Tensor and not node.kwargs else ()
    if alone and len(node.all_input_nodes) == len(terms) == 2 and len({_shape(a) for a in (node, *terms)}) == 1:
        return _call(graph, node.target, *(_transposed(graph, term, node) for term in terms))
    return _call(graph, aten.transpose.int, node, -2, -1)


def _call(graph: fx.Graph, target: Any, *args: Any) -> fx.Node:
    """A call with its result's shape noted, as tracing would have."""
    node = graph.call_function(target, args)
    node.meta["val"] = target(*fx.map_arg(args, lambda argument: argument.meta["val"]))
    return node


def _is_transposition(node: Any) -> bool:
    """Whether it exchanges the last two axes."""
    if node.target is aten.t.default:
        return len(_shape(node)) == 2
    if node.target is not aten.transpose.int:
        return False
    axes = len(_shape(node))
    return {axis % axes for axis in node.args[1:]} == {axes - 2, axes - 1}


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)
