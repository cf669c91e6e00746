"""Split a step and its pull-back, traced as one graph, into two functions and the residuals between them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from baselines._compiler.tracing import Traced

VIEWS = ("alias", "detach", "expand", "permute", "squeeze", "t", "transpose", "unsqueeze", "view", "_unsafe_view")
CONSTANTS = ("empty", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like")
SCATTERING = "max_pool2d_with_indices_backward"  # its result is as large as what was pooled, and mere copying


class Split(NamedTuple):
    """Hold the two halves of a joint graph.

    forward: inputs -> (outputs, residuals); pull_back: (inputs, residuals, cotangents) -> pulled back.
    """

    forward: Traced
    pull_back: Traced
    residual_bytes: int


def is_view(node: fx.Node) -> bool:
    """Tell whether an operation only looks at memory in another way, so that no computing is needed at all."""
    return _operation(node) in VIEWS


def is_cheap(node: fx.Node) -> bool:
    """Tell whether an operation is compiled into its users, so that recomputing costs less than reading the result."""
    tags = getattr(node.target, "tags", ())
    if _operation(node) == "convert_element_type":  # a narrower dtype was chosen in order to be kept
        source = node.all_input_nodes[0]
        return bool(node.meta["val"].dtype.itemsize >= source.meta["val"].dtype.itemsize)
    pointwise = torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags
    return pointwise or _operation(node) in (*VIEWS, *CONSTANTS, SCATTERING)


def is_any(node: fx.Node) -> bool:
    """Accept every operation; only for graphs without random numbers, which would be others the second time."""
    return True


def split(joint: Traced, recompute: Callable[[fx.Node], bool]) -> Split:
    """Split (inputs, cotangents) -> (outputs, pulled back), where the outputs depend on the inputs alone.

    recompute: tells which results of the first half the second computes again; it gets the others as residuals.
    """
    inputs, cotangents = joint.inputs
    outputs, pulled_back = joint.outputs
    backward = set(tree_leaves(cotangents))  # every node that depends on a cotangent
    for node in joint.graph.graph.nodes:
        if node.op != "output" and not backward.isdisjoint(node.all_input_nodes):
            backward.add(node)
    residuals: list[fx.Node] = []
    visited: set[fx.Node] = set()
    waiting = [source for node in joint.graph.graph.nodes if node in backward for source in node.all_input_nodes]
    waiting += tree_leaves(pulled_back)
    while waiting:
        node = waiting.pop(0)
        if node in visited or node in backward or node.op != "call_function":
            continue
        visited.add(node)
        if recompute(node):
            waiting += node.all_input_nodes
        else:
            residuals.append(node)
    size = sum(node.meta["val"].numel() * node.meta["val"].element_size() for node in residuals)
    return Split(
        _between(joint, (inputs,), (outputs, residuals)),
        _between(joint, (inputs, residuals, cotangents), pulled_back),
        size,
    )


def _operation(node: fx.Node) -> str:
    """Name an operation without its overload: `view` for `aten.view.default`."""
    return getattr(node.target, "__name__", "").partition(".")[0]


def _between(joint: Traced, inputs: tuple[Any, ...], outputs: Any) -> Traced:
    """Copy the part of a graph that computes some of its nodes from others, both given as pytrees."""
    sources, results = tree_leaves(inputs), tree_leaves(outputs)
    needed, waiting = set(sources), list(results)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in sources:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    for node in joint.graph.graph.nodes:
        if node in needed and node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output([copies[node] for node in results])
    return Traced(fx.GraphModule(joint.graph, graph), inputs, outputs)
