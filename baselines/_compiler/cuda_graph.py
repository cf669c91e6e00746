"""A whole sweep as one CUDA graph: recorded once, replayed with one launch."""

import torch

from baselines._compiler.meta_gradient import Sweep
from baselines._compiler.step import Values
from baselines.contract import TaskBatch


class Recorded:
    """A sweep that has been compiled already, recorded for tensors of the same shapes.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, sweep: Sweep, inputs: tuple[Values, Values], batch: TaskBatch) -> None:
        fixed, theta = inputs
        self.inputs = [t.clone() for t in _flat(fixed, theta, batch)]
        self.fixed, self.theta = len(fixed), len(theta)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.inputs[0].device), torch.cuda.graph(self.graph):
            self.outputs = sweep(*self._split())

    def __call__(self, fixed: Values, theta: Values, batch: TaskBatch) -> Values:
        """Copy in, replay, copy out: the next replay writes to the same outputs."""
        for t, new in zip(self.inputs, _flat(fixed, theta, batch), strict=True):
            t.copy_(new)
        self.graph.replay()
        return [t.clone() for t in self.outputs]

    def _split(self) -> tuple[Values, Values, TaskBatch]:
        ends = self.fixed + self.theta
        return self.inputs[: self.fixed], self.inputs[self.fixed : ends], TaskBatch(*self.inputs[ends:])


def _flat(fixed: Values, theta: Values, batch: TaskBatch) -> Values:
    return [*fixed, *theta, *batch]
