"""Functions of flat lists of tensors: traced once, split, and compiled without guards around the code.

`torch.compile` asks on every call whether what it compiled still holds: the module, its parameters, every shape. At the
tutorial notebook's size that takes longer than the arithmetic. Here a function is traced for tensors of known shapes
(`make_fx`), its graph goes straight to the compiler behind `torch.compile`, and whoever calls it keeps the key of what
it holds for.
"""

import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from baselines._rewriting import simplify

Tensors = Sequence[Tensor]
Flat = Callable[..., Tensors]

OLDEST = (2, 4)  # what is traced here needs at least this torch
VIEWS = ("alias", "detach", "expand", "permute", "squeeze", "t", "transpose", "unsqueeze", "view", "_unsafe_view")


def no_compiler(device: torch.device) -> str | None:
    """Why nothing can be compiled here; None if it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST:
        return f"compiling needs torch {'.'.join(map(str, OLDEST))} or newer, this is {torch.__version__}"
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        return "compiling needs a C++ compiler (g++, c++ or clang++), and there is none"
    return None


def trace(function: Flat, example: Tensors) -> fx.GraphModule:
    """`function` as a graph for tensors like those of `example`; Python's own control flow is decided once."""
    with torch.no_grad():
        traced: fx.GraphModule = make_fx(function, tracing_mode="fake")(*example)
    simplify(traced.graph)
    traced.recompile()
    return traced


class Compiled:
    """A graph as machine code. It is compiled at the first call, for tensors with just those shapes and strides."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.code: Flat | None = None

    def __call__(self, *tensors: Tensor) -> Tensors:
        """Run it, under `no_grad`; every result is a new tensor."""
        if self.code is None:
            from torch import _inductor  # takes a second, which only those who compile should pay

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about TF32, which is off on purpose
                on_cpu = tensors[0].device.type == "cpu"  # there, Python between two kernels costs more than a kernel
                self.code = _inductor.compile(self.graph, list(tensors), options={"cpp_wrapper": on_cpu})
        return self.code(*tensors)


def draws(graph: fx.GraphModule) -> bool:
    """Whether it draws random numbers, which a second evaluation would draw anew."""
    return any(torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in graph.graph.nodes)


def operations(graph: fx.GraphModule) -> set[str]:
    """The names of what it consists of, such as `aten.convolution.default`."""
    return {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}


def split(joint: fx.GraphModule, inputs: int, outputs: int) -> tuple[fx.GraphModule, fx.GraphModule, int]:
    """A function and its pull-back, traced as one, in two: what the second needs of the first is handed over.

    joint: (inputs, cotangents) -> (outputs, pulled back), where outputs depend on the inputs alone.
    Returns inputs -> (outputs, residuals); (inputs, residuals, cotangents) -> pulled back; and the bytes of the
    residuals. Views are taken again rather than handed over.
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
        if _is_view(node):
            waiting += node.all_input_nodes
        else:
            residuals.append(node)
    first = _copy(joint, placeholders[:inputs], results[:outputs] + residuals)
    second = _copy(joint, [*placeholders[:inputs], *residuals, *placeholders[inputs:]], results[outputs:])
    size = sum(node.meta["val"].numel() * node.meta["val"].element_size() for node in residuals)
    return first, second, size


def apart(joint: fx.GraphModule, inputs: int, outputs: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The same two with no residuals: the pull-back computes again whatever it needs."""
    placeholders, results = _ends(joint)
    first = _copy(joint, placeholders[:inputs], results[:outputs])
    return first, _copy(joint, placeholders, results[outputs:])


def _is_view(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "").partition(".")[0] in VIEWS


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
