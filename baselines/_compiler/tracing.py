"""Trace functions of pytrees of tensors once, and compile them without guards around the code.

`torch.compile` asks on every call whether what it compiled still holds: the module, its parameters, every shape. At the
tutorial notebook's size that takes longer than the arithmetic. Here a function is traced for tensors of known shapes
(`make_fx`), its graph goes straight to the compiler behind `torch.compile`, and whoever calls it asks what it holds for
(`guards`).
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
from torch.utils._pytree import tree_flatten, tree_unflatten

from baselines._compiler.simplification import simplify
from baselines._compiler.trees import builder, flattener

Flat = Callable[..., Sequence[Tensor]]

aten = torch.ops.aten
NORMALISATIONS = [aten.native_batch_norm, aten.cudnn_batch_norm, aten.native_batch_norm_backward]
CPU_OPTIONS = {
    "cpp_wrapper": True,  # Python between two kernels costs more than a kernel
    "layout_optimization": False,  # of convolutions: tensors between the graphs would be turned there and back
    "cpp.vec_isa_ok": True,  # believe what the processor says of itself: to try it with the compiler takes seconds
}
OLDEST_TORCH = (2, 4)


def no_compiler(device: torch.device) -> str | None:
    """Say why nothing can be compiled on this machine; None if it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        return f"compiling needs torch {'.'.join(map(str, OLDEST_TORCH))} or newer, this is {torch.__version__}"
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        return "compiling needs a C++ compiler (g++, c++ or clang++), and there is none"
    return None


class Traced:
    """Call a traced function with pytrees; it runs as a graph of flat tensors, or once `compile`d as machine code.

    inputs, outputs: the function's arguments and its result, with the graph's nodes in the places of tensors.
    """

    def __init__(self, graph: fx.GraphModule, inputs: tuple[Any, ...], outputs: Any) -> None:
        self.graph, self.inputs, self.outputs = graph, inputs, outputs
        self.run: Flat = graph
        self._flatten, self._build = flattener(inputs), builder(outputs)

    def __call__(self, *arguments: Any) -> Any:
        """Compute the function's result for arguments of the same structure, shapes and dtypes."""
        return self._build(self.run(*self._flatten(arguments)))

    def compile(self) -> None:
        """Run machine code from the next call on."""
        self.run = MachineCode(self.graph)

    @property
    def draws(self) -> bool:
        """Tell whether it draws random numbers, which a second evaluation would draw anew."""
        nodes = self.graph.graph.nodes
        return any(torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in nodes)


def trace(function: Callable[..., Any], *example: Any, pure: bool = True) -> Traced:
    """Trace `function` for pytrees of tensors like those of `example`; Python's own control flow is decided once.

    pure: nothing in the graph changes a tensor in place, so any part of it can be computed again, and batch
        normalisation is reductions and elementwise operations, which are compiled together with what surrounds them.
        Otherwise the graph has the operations that the function calls.

    Tensors that are not arguments, such as a module's plain attributes, become constants of the graph.
    """
    tensors, structure = tree_flatten(example)
    result_structure: Any = None

    def flat(*tensors: Tensor) -> list[Tensor]:
        nonlocal result_structure
        results, result_structure = tree_flatten(function(*tree_unflatten(tensors, structure)))
        return results

    traceable = torch.func.functionalize(flat, remove="mutations") if pure else flat
    decompositions: Any = get_decompositions(NORMALISATIONS) if pure else None
    with torch.no_grad():
        graph = make_fx(traceable, decompositions, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
    if pure:
        simplify(graph.graph)
        graph.recompile()
    nodes = list(graph.graph.nodes)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    (results,) = nodes[-1].args
    return Traced(graph, tree_unflatten(placeholders, structure), tree_unflatten(results, result_structure))


class MachineCode:
    """Run a graph as machine code, compiled at the first call for tensors with just those shapes and strides."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.code: Flat | None = None

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Compute the graph's results, each a new tensor; to be called under `no_grad`."""
        if self.code is None:
            from torch import _inductor  # takes a second, which only those who compile should pay

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about TF32, which is off on purpose
                options = CPU_OPTIONS if tensors[0].device.type == "cpu" else {}
                self.code = _inductor.compile(self.graph, list(tensors), options=options)
        return self.code(*tensors)
