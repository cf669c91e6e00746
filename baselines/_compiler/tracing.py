"""Functions of flat lists of tensors: traced once, and compiled without guards around the code.

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
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from baselines._compiler.simplification import simplify

Tensors = Sequence[Tensor]
Flat = Callable[..., Tensors]

aten = torch.ops.aten
NORMALISATIONS = [aten.native_batch_norm, aten.cudnn_batch_norm, aten.native_batch_norm_backward]
ON_CPU = {
    "cpp_wrapper": True,  # Python between two kernels costs more than a kernel
    "layout_optimization": False,  # of convolutions: tensors between the graphs would be turned there and back
    "cpp.vec_isa_ok": True,  # believe what the processor says of itself: to try it with the compiler takes seconds
}
OLDEST = (2, 4)  # what is traced here needs at least this torch


def no_compiler(device: torch.device) -> str | None:
    """Why nothing can be compiled here; None if it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST:
        return f"compiling needs torch {'.'.join(map(str, OLDEST))} or newer, this is {torch.__version__}"
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        return "compiling needs a C++ compiler (g++, c++ or clang++), and there is none"
    return None


def trace(function: Flat, example: Tensors) -> fx.GraphModule:
    """`function` as a graph for tensors like those of `example`; Python's own control flow is decided once.

    Nothing in the graph changes a tensor in place, so any part of it can be computed again; and batch normalisation is
    reductions and elementwise operations, which are compiled together with what is around them. Tensors that are not
    given, such as a module's plain attributes, become constants of it.
    """
    pure = torch.func.functionalize(function, remove="mutations")
    known: Any = get_decompositions(NORMALISATIONS)
    with torch.no_grad():
        traced: fx.GraphModule = make_fx(pure, known, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    simplify(traced.graph)
    traced.recompile()
    return traced


class MachineCode:
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
                on_cpu = tensors[0].device.type == "cpu"
                self.code = _inductor.compile(self.graph, list(tensors), options=ON_CPU if on_cpu else {})
        return self.code(*tensors)


def draws(graph: fx.GraphModule) -> bool:
    """Whether it draws random numbers, which a second evaluation would draw anew."""
    return any(torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in graph.graph.nodes)


def operations(function: Flat, example: Tensors) -> tuple[set[str], list[int]]:
    """The names of what it consists of, such as `aten.native_batch_norm.default`; how often each input is used."""
    with torch.no_grad():
        nodes = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*example).graph.nodes
    names = {str(node.target) for node in nodes if node.op == "call_function"}
    return names, [len(node.users) for node in nodes if node.op == "placeholder"]
