"""A function and its pull-back, traced as one graph, cut in two: what is handed over, and what is computed again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

VIEWS = ("alias", "detach", "expand", "permute", "squeeze", "t", "transpose", "unsqueeze", "view", "_unsafe_view")
CONSTANTS = ("empty", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like")
SCATTERED = "max_pool2d_with_indices_backward"  # as large as what was pooled, and mere copying


def views(node: fx.Node) -> bool:
    """What takes no computing at all."""
    return _name(node) in VIEWS


def elementwise(node: fx.Node) -> bool:
    """What is compiled into whatever uses it, so that computing it again costs less than reading it would."""
    tags = getattr(node.target, "tags", ())
    cheap = torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags
    if _name(node) == "convert_element_type":  # what was made smaller was made so to be kept
        source = node.all_input_nodes[0]
        return bool(node.meta["val"].dtype.itemsize >= source.meta["val"].dtype.itemsize)
    return cheap or _name(node) in (*VIEWS, *CONSTANTS, SCATTERED)


def everything(node: fx.Node) -> bool:
    """For where no random numbers are drawn, which would be others the second time."""
    return True


def split(
    joint: fx.GraphModule, inputs: int, outputs: int, again: Callable[[fx.Node], bool]
) -> tuple[fx.GraphModule, fx.GraphModule, int]:
    """The two functions, and the bytes of the residuals that the first hands over.

    joint: (inputs, cotangents) -> (outputs, pulled back), where outputs depend on the inputs alone.
    again: what the second computes again, of all that it needs of the first.
    Returns inputs -> (outputs, residuals); (inputs, residuals, cotangents) -> pulled back; the bytes.
    """
    placeholders, results = _ends(joint)
    late = set(placeholders[inputs:])  # everything that depends on a cotangent
    for node in joint.graph.nodes:
        if node.op != "output" and any(source in late for source in node.all_input_nodes):
            late.add(node)
    residuals: list[fx.Node] = []
    seen: set[fx.Node] = set()
    waiting = [source for node in joint.graph.nodes if node in late for source in node.all_input_nodes]
    waiting += results[outputs:]
    while waiting:
        node = waiting.pop(0)
        if node in seen or node in late or node.op != "call_function":
            continue
        seen.add(node)
        if again(node):
            waiting += node.all_input_nodes
        else:
            residuals.append(node)
    first = _copy(joint, placeholders[:inputs], results[:outputs] + residuals)
    second = _copy(joint, [*placeholders[:inputs], *residuals, *placeholders[inputs:]], results[outputs:])
    size = sum(node.meta["val"].numel() * node.meta["val"].element_size() for node in residuals)
    return first, second, size


def _name(node: fx.Node) -> str:
    """The operation without its overload: `view` for `aten.view.default`."""
    return getattr(node.target, "__name__", "").partition(".")[0]


def _ends(graph: fx.GraphModule) -> tuple[list[fx.Node], list[Any]]:
    """Placeholders and results."""
    nodes = list(graph.graph.nodes)
    return [node for node in nodes if node.op == "placeholder"], list(nodes[-1].args[0])


def _copy(whole: fx.GraphModule, handed: list[fx.Node], results: list[Any]) -> fx.GraphModule:
    """The part of a graph between the nodes that are `handed` in and the `results`."""
    needed, waiting = set(handed), list(results)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in handed:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    for node in whole.graph.nodes:
        if node in needed and node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output([copies[node] for node in results])
    return fx.GraphModule(whole, graph)
