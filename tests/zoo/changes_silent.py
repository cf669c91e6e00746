"""What changes at each call and is read by nobody: it may cost nothing, and the answer has to stay right."""

import logging
import os
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from baselines.contract import TaskBatch
from tests.zoo import elsewhere
from tests.zoo.records import DOUBLE, Build, Change, Net, attribute, done, mlp, net, points


def unread(name: str, build: Build, tick: Callable[[Any], object]) -> Change:
    """What `tick` does to the model is read by no forward."""
    return Change(name, build, lambda m, _: done(lambda: tick(m)), silent=True)


class Noting(Net):
    """Notes what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.norms = 0, [0.0]
        self.last: dict[str, tuple[int, ...]] = {}
        self.log = logging.getLogger("maml-bench.zoo.noting")

    def forward(self, x: Tensor) -> Tensor:
        """As Net's."""
        self.calls += 1
        self.norms.append(float(len(x)))
        self.last["shape"] = tuple(x.shape)
        return super().forward(x)


class Remembering(Net):
    """Keeps its last activations, as for a later look."""

    activations: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As Net's."""
        self.activations = torch.tanh(self.a(x))
        return self.b(self.activations)  # type: ignore[no-any-return]


def counted() -> nn.Sequential:
    """A network whose batch normalisation counts its batches."""
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE)


def normed() -> Any:
    """A network with a parametrized weight."""
    model = mlp()
    parametrizations.weight_norm(model[0])
    return model


def observed() -> Any:
    """A network with a hook that only looks."""
    model = mlp()
    model.seen = []
    model[0].register_forward_hook(lambda layer, x, y: model.seen.append(tuple(y.shape)))
    return model


def forms(seed: int, dtype: torch.dtype, change: Callable[[Tensor], Tensor]) -> TaskBatch:
    """Meta-batches of another form at every second call."""
    batch = points(seed, dtype)
    return TaskBatch(*map(change, batch)) if seed % 2 == 0 else batch


def batches(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    """The same network with batches of two forms in turn."""
    return Change(name, mlp, lambda m, _: done(lambda: None), batch=lambda s, d: forms(s, d, change), silent=True)


def held(make: Callable[[], Any], factor: float = 2.0) -> Build:
    """Build a network that holds what can be neither copied nor compared."""

    def build() -> Net:
        model = net(lambda m: factor)()
        model.held = make()
        return model

    return build


def trained() -> Net:
    """A network that knows who trains it."""
    model = net(lambda m: 2.0)()
    model.trainer = SimpleNamespace(model=model, step=0, optimizer=torch.optim.Adam(model.parameters()))
    return model


def within(context: Callable[[], AbstractContextManager[Any]], build: Build = mlp) -> dict[str, Any]:
    """A context around the call that changes no result."""
    return {"build": build, "alter": lambda m, _: context(), "silent": True}


CHANGES = (
    unread("an epoch that is counted", net(lambda m: 2.0, epoch=0), lambda m: setattr(m, "epoch", m.epoch + 1)),
    unread("an epoch that is counted by a child", net(lambda m: 2.0), lambda m: setattr(m.a, "epoch", 1)),
    unread("a history that grows", net(lambda m: 2.0, history=[]), lambda m: m.history.append(0.5)),
    unread("a deque that rolls", net(lambda m: 2.0, recent=deque(range(3), 3)), lambda m: m.recent.append(9)),
    unread(
        "a dict of metrics", net(lambda m: 2.0, metrics={"loss": 1.0}), lambda m: m.metrics.update(loss=0.5, step=1)
    ),
    unread("a counter", net(lambda m: 2.0, counts=Counter()), lambda m: m.counts.update("a")),
    unread(
        "an object's attribute",
        net(lambda m: 2.0, state=SimpleNamespace(step=0)),
        lambda m: setattr(m.state, "step", 1),
    ),
    unread(
        "a logger", net(lambda m: 2.0, log=logging.getLogger("maml-bench.zoo.silent")), lambda m: m.log.setLevel(10)
    ),
    unread("a running mean in NumPy", net(lambda m: 2.0, mean=np.zeros(3)), lambda m: m.mean.__setitem__(0, 1.0)),
    unread("a running mean in a tensor", net(lambda m: 2.0, mean=torch.zeros(3)), lambda m: m.mean.fill_(1.0)),
    unread("a buffer that no forward reads", lambda: _buffered(), lambda m: m.step.add_(1)),
    unread("batches that batch normalisation counts", counted, lambda m: m[1].num_batches_tracked.add_(1)),
    unread("running statistics in training", counted, lambda m: m[1].running_mean.add_(1.0)),
    unread(
        "a global of the user's Python module that is not read",
        net(lambda m: 2.0),
        lambda m: elsewhere.FACTORS.append(1.0),
    ),
    unread("the seeds", mlp, lambda m: (torch.manual_seed(5), random.seed(5), np.random.seed(5))),
    unread("a name", mlp, lambda m: setattr(m, "name", "another")),
    unread("gradients turned off for nobody", mlp, lambda m: m.requires_grad_(True)),
    unread("what a hook notes", observed, lambda m: m.seen.append(0)),
    unread("a trainer that holds the network", trained, lambda m: setattr(m.trainer, "step", 1)),
    unread("the state of an optimizer", trained, lambda m: m.trainer.optimizer.param_groups[0].update(lr=0.5)),
    unread("a lock", held(threading.Lock), lambda m: m.held.locked()),
    unread("a thread", held(threading.Thread), lambda m: setattr(m.held, "name", "x")),
    unread("an open file", held(lambda: open(os.devnull)), lambda m: m.held.read()),  # noqa: SIM115
    unread("a generator that is running", held(lambda: iter(range(9))), lambda m: next(m.held)),
    unread("the standard output", held(lambda: sys.stdout), lambda m: m.held.flush()),
    unread("a random generator that no forward draws from", held(torch.Generator), lambda m: m.held.manual_seed(4)),
    unread(
        "an object that measures time",
        held(lambda: SimpleNamespace(start=0.0)),
        lambda m: setattr(m.held, "start", 1.0),
    ),
    batches("more points", lambda t: torch.cat([t, t], 1)),
    batches("more tasks", lambda t: torch.cat([t, t, t])),
    batches("one task", lambda t: t[:1]),
    batches("transposed batches", lambda t: t.mT.contiguous().mT),
    batches("batches that are part of larger ones", lambda t: torch.stack([t, -t], 3)[..., 0]),
    batches("batches whose points are one in memory", lambda t: t[:, :1].expand_as(t)),
    batches("batches that require gradients", lambda t: t.clone().requires_grad_()),
    Change("what a forward notes", Noting, lambda m, _: attribute(m, "calls", 100), silent=True),
    Change("activations that are kept", Remembering, lambda m, _: attribute(m, "activations", None), silent=True),
    Change("no_grad", **within(torch.no_grad)),
    Change("inference mode", **within(torch.inference_mode)),
    Change("anomaly detection", **within(lambda: torch.autograd.set_detect_anomaly(True, check_nan=False))),
    Change("activations kept elsewhere", **within(torch.autograd.graph.save_on_cpu)),
    Change("parametrizations cached", **within(parametrize.cached, normed)),
)


def _buffered() -> Net:
    model = net(lambda m: 2.0)()
    model.register_buffer("step", torch.zeros((), dtype=torch.int64))
    return model
