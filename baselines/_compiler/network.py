"""Find out what a network computes by tracing its forward once, with support and with query points."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from baselines._compiler.tracing import trace
from baselines._shared.module_state import unchanged
from baselines.contract import Params, Stateless

ONE_TASK_AT_A_TIME = ("convolution", "batch_norm", "layer_norm")
"""Parts of names of operations that `vmap` over tasks makes slow or wrong.

With weights of its own for each task a convolution is a grouped one, several times slower and larger than task after
task; and derivatives of a `vmap` over these normalisations are wrong from the second on (see `vectorized`).
"""


class Network(NamedTuple):
    """Hold what a forward consists of.

    operations: names such as `aten.native_batch_norm.default`.
    linear_points: for each parameter that is used once with support and once with query points, both times as the
        weight of a linear layer: the number of support points that go through that layer.
    """

    operations: frozenset[str]
    linear_points: dict[str, int]

    @property
    def vectorizes(self) -> bool:
        """Tell whether all tasks may go through the network together, by `vmap`."""
        return not any(part in name for part in ONE_TASK_AT_A_TIME for name in self.operations)


def examine(model: nn.Module, support_x: Tensor, query_x: Tensor) -> Network:
    """Trace a forward of one task's support and query points; raises whatever tracing or the network raises."""
    network = Stateless(model)
    linear_points: dict[str, dict[str, int]] = {}

    def forward(parameters: Params, buffers: Params, points: Params) -> list[Any]:
        outputs = []
        for part, x in points.items():
            own = {name: b.clone() for name, b in buffers.items()}  # which a forward may write to
            with LinearCalls(parameters) as linear:
                outputs.append(network(parameters | own, x))
            linear_points[part] = linear.points
        return outputs

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    with unchanged(model):
        traced = trace(forward, parameters, buffers, {"support": support_x, "query": query_x}, pure=False)
    operations = frozenset(str(node.target) for node in traced.graph.graph.nodes if node.op == "call_function")
    uses = {name: len(node.users) for name, node in traced.inputs[0].items()}
    support, query = linear_points["support"], linear_points["query"]
    return Network(operations, {name: n for name, n in support.items() if name in query and uses[name] == 2})


class LinearCalls(TorchFunctionMode):
    """While active, note how many points go through `F.linear` with each of these weights, in the weight's dtype."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights
        self.points: dict[str, int] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.linear and len(args) > 1 and args[0].dtype == args[1].dtype == result.dtype:
            for name, weight in self.weights.items():
                if args[1] is weight:
                    self.points[name] = args[0].numel() // args[0].shape[-1]
        return result
