"""Run a whole sweep as one CUDA graph: recorded once, replayed with one launch."""

import torch
from torch.utils._pytree import tree_map

from baselines._compiler.meta_gradient import Sweep
from baselines._compiler.step import Constants, Phi
from baselines._compiler.trees import flattener
from baselines.contract import MetaGradient, TaskBatch


class CudaGraph:
    """Record a sweep that has been compiled already, and replay it for tensors of the same shapes.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, sweep: Sweep, constants: Constants, theta: Phi, batch: TaskBatch) -> None:
        arguments = (constants, theta, batch)
        self._flatten = flattener(arguments)
        own = tree_map(torch.clone, arguments)
        self.inputs = self._flatten(own)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(constants.lr.device), torch.cuda.graph(self.graph):
            self.result = sweep(*own)

    def __call__(self, constants: Constants, theta: Phi, batch: TaskBatch) -> MetaGradient:
        """Copy in, replay, copy out: the next replay writes to the same memory."""
        for own, tensor in zip(self.inputs, self._flatten((constants, theta, batch)), strict=True):
            own.copy_(tensor)
        self.graph.replay()
        task_losses, grads = self.result
        assert task_losses is not None
        return MetaGradient(task_losses.clone(), {name: g.clone() for name, g in grads.items()})
