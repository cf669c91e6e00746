"""What the JAX implementations share: settings, the way between torch and JAX, and one compiled call.

Settings of the whole process, made here and nowhere else, when an implementation is imported:

- float64 exists (`jax_enable_x64`); arrays keep the dtype of the tensors they come from, so float32 stays float32.
- Products of float32 are taken in float32 (https://docs.jax.dev/en/latest/201/precision.html): on recent GPUs the
  default is TF32, which is off here for everybody.
- On a CPU a call returns when its result is there, as in torch, so that memory and time are those of the call.
- JAX takes GPU memory as it needs it (https://docs.jax.dev/en/latest/201/gpu-memory.html); it is read when the first
  array is made, not at import.
"""

import os
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import torch
import torch.nn.functional as F
from jax import Array
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from baselines._shared.module_state import exclusive, lowers
from baselines._shared.servable import refusal
from baselines.contract import Baseline, Computes, MetaGradient, Spec, TaskBatch, trainable
from baselines.libraries._jax_layers import Weights
from baselines.libraries._jax_network import Loss, Network, describe, forward, missing, squared_error

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_cpu_enable_async_dispatch", False)
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

UNROLLED = 5
"""The number of inner steps up to which the loop is written out, and compiled, step by step; beyond, `lax.scan`.

Measured on a CPU core with two hidden layers of 40: written out, a call takes 10 to 20 % less at K = 5 and 10, and no
less at 20. But compiling takes some 0.4 s for every step that is written out (2 s in a small convolutional network),
where a scan takes 1.5 s (7 s) whatever K is.
"""


class Prepared(NamedTuple):
    """The network, and resident arrays. batch: support_x, support_y, query_x, query_y, each (tasks, points, …)."""

    network: Network
    theta: Weights
    frozen: Weights
    batch: tuple[Array, ...]


class Result(NamedTuple):
    """The meta-gradient by parameter, and the query losses, (tasks,)."""

    grads: Weights
    losses: Array


class JaxBaseline(Baseline):
    """One `jax.jit`ted function of parameters and batch; for another network or shape another, when it first comes."""

    computes: ClassVar[Computes] = "maml"
    library = "jax"
    compiles = True
    framework = "jax"
    jit = staticmethod(jax.jit)

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.device = _device(spec.device)
        self.compiled: dict[Network, Any] = {}
        self.last: Array | None = None

    @classmethod
    def lacking(cls, device: torch.device) -> str | None:
        """It takes a device that JAX sees."""
        try:
            _device(device)
        except (RuntimeError, IndexError):
            return f"JAX sees no device {device}; for CUDA it takes an extra of its own, such as jax[cuda13]"
        return None

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It serves networks and losses that have a JAX counterpart."""
        if lacking := missing(spec.model):
            return f"no JAX counterpart of {lacking}"
        if spec.loss is not F.mse_loss:
            return f"no JAX counterpart of the loss {getattr(spec.loss, '__name__', type(spec.loss).__name__)}"
        return refusal(spec) or cls.lacking(spec.device)

    def prepare(self, batch: TaskBatch) -> Prepared:
        """Copies as JAX arrays; raises RuntimeError where the model has come to be one without a JAX counterpart."""
        model, theta, frozen = self.spec.model, Weights(), Weights()
        with exclusive(model):
            if reason := self.unavailable(self.spec):
                raise RuntimeError(reason)
            for name, p in model.named_parameters():
                (theta if p.requires_grad else frozen)[name] = self.array(p)
            return Prepared(describe(model), theta, frozen, tuple(self.array(t) for t in batch))

    def array(self, tensor: Tensor) -> Array:
        """A private copy of `tensor`, which the JAX array then owns."""
        own = tensor.detach().clone(memory_format=torch.contiguous_format)
        array: Array = jax.dlpack.from_dlpack(own, self.device)
        return array

    def meta_gradient(self, prepared: Prepared) -> Result:
        """The compiled call."""
        if lowers(self.spec.device) and self.spec.dtype != torch.float64:
            raise RuntimeError("JAX knows nothing of torch.autocast")
        network, *arrays = prepared
        result: Result = self.function(network)(*arrays)
        self.last = result.losses
        return result

    def function(self, network: Network) -> Any:
        """The `jax.jit`ted function of θ, what is frozen and the batch, for `network`."""
        if network not in self.compiled:
            self.compiled[network] = self.jit(partial(self.mean_over_tasks, partial(squared_error, forward(network))))
        return self.compiled[network]

    def mean_over_tasks(self, loss: Loss, theta: Weights, frozen: Weights, batch: tuple[Array, ...]) -> Result:
        """The meta-gradient as a pure function of arrays; to be traced, not called."""
        raise TypeError(f"{type(self).__name__} does not define mean_over_tasks")

    def to_torch(self, result: Result) -> MetaGradient:
        """Copies as tensors, which their owner may change."""
        jax.block_until_ready(result)
        with torch.inference_mode(False):
            grads = {name: _tensor(result.grads[name]) for name in trainable(self.spec.model)}
            losses = _tensor(result.losses)
        super().synchronize()  # on a GPU: they are made before JAX can use the memory for something else
        return MetaGradient(losses, grads)

    def synchronize(self) -> None:
        """Wait for the last call's result; calls are computed in order."""
        jax.block_until_ready(self.last)


def _device(device: torch.device) -> jax.Device:
    return jax.devices(device.type)[device.index or 0]


def _tensor(array: Array) -> Tensor:
    return from_dlpack(array).clone()
