"""Second-order MAML the way the tutorial notebook writes it: sub-models of clones, and `.grad`.

Every task gets a sub-model whose layers hold `clone()`s of the meta-model's weights, so that whatever reaches a
clone flows on to the meta-parameter. The inner loop is one

    loss.backward(create_graph=True)        # ∇S lands on the *meta*-model's .grad, with its graph
    weight = weight − α · meta.weight.grad  # still in the graph
    meta.weight.grad = None                 # only then may the next task write there

Clearing to None also breaks the reference cycle parameter → .grad → graph → parameter, about which PyTorch warns.
It is defined for one inner step: at a second one `.grad` would still be the gradient with respect to the
meta-parameters, where MAML needs the one with respect to the adapted weights.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines._shared.module_state import replaced
from baselines._shared.with_grad import WithGrad
from baselines.contract import MetaGradient, Params, Spec, TaskBatch, take_grads

KNOWN = (nn.Linear, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Flatten)


class SubLinear:
    """A linear layer that holds clones of the meta-layer's weights, and so is not made of parameters of its own."""

    def __init__(self, meta: nn.Linear) -> None:
        self.meta = meta
        self.weight = meta.weight.clone()  # (out, in)
        self.bias = None if meta.bias is None else meta.bias.clone()  # (out,)

    def __call__(self, x: Tensor) -> Tensor:
        """(points, in) to (points, out)."""
        return F.linear(x, self.weight, self.bias)

    def update(self, lr: float) -> None:
        """One inner step with the gradient that lies in the meta-layer's `.grad`."""
        if self.meta.weight.grad is not None:
            self.weight = self.weight - lr * self.meta.weight.grad
        if self.bias is not None and self.meta.bias.grad is not None:
            self.bias = self.bias - lr * self.meta.bias.grad


class SubModel:
    """A meta-model's layers in order, the linear ones as clones."""

    def __init__(self, meta: nn.Sequential) -> None:
        self.layers = [SubLinear(layer) if isinstance(layer, nn.Linear) else layer for layer in meta]

    def __call__(self, x: Tensor) -> Tensor:
        """One layer after the other."""
        for layer in self.layers:
            x = layer(x)
        return x

    def update(self, lr: float) -> None:
        """One inner step in every layer that has weights."""
        for layer in self.layers:
            if isinstance(layer, SubLinear):
                layer.update(lr)


class Container:
    """The meta-model, the sub-models of one meta-batch, and the buffer that gradients pass through."""

    def __init__(self, meta: nn.Sequential) -> None:
        self.meta = meta
        self.buffer: Params = {}

    def sub_models(self, tasks: int) -> list[SubModel]:
        """One fresh sub-model per task, all at once."""
        return [SubModel(self.meta) for _ in range(tasks)]

    def collect(self) -> Params:
        """Move the meta-gradient from `.grad` into the buffer, and clear `.grad`."""
        self.buffer = take_grads(self.meta)
        return self.buffer

    def show_and_clear(self) -> None:
        """Print the buffered gradients and empty the buffer, as the notebook does between its steps."""
        for name, grad in self.buffer.items():
            print(f"{name}: {grad}")
        self.buffer = {}


class Notebook(WithGrad):
    """The notebook's mechanics, for `nn.Sequential`s of linear layers and activations, one inner step."""

    computes = "maml"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.model, nn.Sequential)
        self.container = Container(spec.model)

    @classmethod
    def unavailable(cls, spec: Spec) -> str | None:
        """It serves at most one inner step, and modules made of layers it knows."""
        if spec.inner.steps > 1:
            return "the notebook's scheme is defined for one inner step only"
        if type(spec.model) is not nn.Sequential:
            return f"sub-models are built from an nn.Sequential, not from {type(spec.model).__name__}"
        unknown = {type(m).__name__ for m in spec.model if type(m) not in KNOWN}
        if unknown:
            return f"no sub-model layer for {', '.join(sorted(unknown))}"
        linear = [layer for layer in spec.model if isinstance(layer, nn.Linear)]
        if any(not t.requires_grad for layer in linear for t in (layer.weight, layer.bias) if t is not None):
            return "a frozen parameter has no .grad to update from"
        if reason := replaced(spec.model):
            return f"sub-models leave out {reason}"
        return super().unavailable(spec)

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Adapt a sub-model per task, then one `backward` from the mean of their query losses."""
        self.container.buffer = {}  # the last call's gradients are the caller's by now
        losses = []
        with self.call(prepared) as batch:
            tasks = len(batch.support_x)
            for sub, (support_x, support_y, query_x, query_y) in zip(
                self.container.sub_models(tasks), zip(*batch, strict=True), strict=True
            ):
                if self.spec.inner.steps:
                    self.adapt(sub, support_x, support_y)
                losses.append(self.loss(sub, query_x, query_y))
            task_losses = torch.stack(losses)  # (tasks,)
            (task_losses.sum() / tasks).backward()
            return MetaGradient(task_losses.detach(), self.container.collect())

    def loss(self, sub: SubModel, x: Tensor, y: Tensor) -> Tensor:
        """The sub-model's mean loss over points; scalar."""
        with self.absent():  # whoever reads the meta-model would take θ for φ
            return self.spec.loss(sub(x), y)

    def adapt(self, sub: SubModel, x: Tensor, y: Tensor) -> None:
        """One inner step: the support gradient through the meta-model's `.grad` into the sub-model's weights."""
        with warnings.catch_warnings():  # the cycle it warns of is broken two lines below
            warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
            self.loss(sub, x, y).backward(create_graph=True)
        sub.update(self.spec.inner.lr)
        for p in self.spec.model.parameters():
            p.grad = None
