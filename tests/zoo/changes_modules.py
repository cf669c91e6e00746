"""The tree of modules, and each layer's own settings and mode."""

import copy
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from tests.zoo.records import DOUBLE, Build, Change, Net, attribute, done, images, mlp, net, sequential


class Two(Net):
    """Two layers of one shape, which may be tied."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(4, 4, dtype=DOUBLE)
        self.d = nn.Linear(4, 4, dtype=DOUBLE)

    def forward(self, x: Tensor) -> Tensor:
        """One after the other."""
        return self.b(torch.tanh(self.d(torch.tanh(self.c(self.a(x))))))  # type: ignore[no-any-return]


def tied() -> Two:
    """Two layers with one weight."""
    model = Two()
    model.d.weight = model.c.weight
    return model


class Listed(Net):
    """Layers in a ModuleList and a ModuleDict."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4, dtype=DOUBLE), nn.Tanh()])
        self.heads = nn.ModuleDict({"x": nn.Linear(4, 3, dtype=DOUBLE), "y": nn.Linear(4, 3, dtype=DOUBLE)})
        self.head = "x"

    def forward(self, x: Tensor) -> Tensor:
        """Layer after layer, then the head."""
        h = self.a(x)
        for layer in self.layers:
            h = layer(h)
        return self.heads[self.head](h)  # type: ignore[no-any-return]


def cnn() -> nn.Sequential:
    """A small convolutional network, which JAX serves too."""
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2, 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 3)).to(DOUBLE)


def between(layer: nn.Module) -> Build:
    """Build a network with a layer between the two linear ones."""
    return lambda: nn.Sequential(nn.Linear(3, 4), copy.deepcopy(layer), nn.Linear(4, 3)).to(DOUBLE)


def with_statistics() -> nn.Sequential:
    """Batch normalisation whose running statistics are not those of any batch."""
    norm = nn.BatchNorm1d(4)
    torch.nn.init.constant_(norm.running_mean, 0.5)  # type: ignore[arg-type]
    torch.nn.init.constant_(norm.running_var, 3.0)  # type: ignore[arg-type]
    return nn.Sequential(nn.Linear(3, 4), norm, nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE)


def exchanged(layers: Any, i: int, j: int) -> AbstractContextManager[None]:
    """Two layers in each other's place."""

    def exchange() -> None:
        layers[i], layers[j] = layers[j], layers[i]

    return done(exchange, exchange)


def normed(layer: nn.Module) -> AbstractContextManager[None]:
    """The layer's weight is direction and length, twice as long."""

    def norm() -> None:
        parametrizations.weight_norm(layer)
        with torch.no_grad():
            layer.parametrizations.weight.original0.mul_(2)  # type: ignore[union-attr,operator]

    return done(norm, lambda: parametrize.remove_parametrizations(layer, "weight"))


class Symmetric(nn.Module):
    """A weight that is the symmetric part of a parameter."""

    def forward(self, weight: Tensor) -> Tensor:
        """(n, n) to (n, n)."""
        return weight.triu() + weight.triu(1).T


def masked(layer: nn.Module) -> AbstractContextManager[None]:
    """A fixed pattern of the layer's weight is zero."""
    mask = torch.arange(layer.weight.numel()).view_as(layer.weight) % 2  # type: ignore[operator,union-attr,arg-type]
    return done(
        lambda: prune.custom_from_mask(layer, "weight", mask),  # type: ignore[no-untyped-call]
        lambda: prune.remove(layer, "weight"),  # type: ignore[no-untyped-call]
    )


def pruned() -> Any:
    """A network with a pruned layer."""
    model = mlp()
    prune.l1_unstructured(model[0], "weight", 4)  # type: ignore[no-untyped-call]
    return model


def layer(kind: nn.Module, name: str, value: object) -> dict[str, Any]:
    """A change of one setting of a layer between two linear ones."""
    words = f"{type(kind).__name__}.{name}"
    return {"name": words, "build": between(kind), "alter": lambda m, _: attribute(m[1], name, value)}


CHANGES = (
    Change(
        "a layer replaced",
        mlp,
        lambda m, _: done(lambda: m.__setitem__(1, nn.Hardtanh(-0.1, 0.1)), lambda: m.__setitem__(1, nn.Tanh())),
    ),
    Change("a layer appended", mlp, lambda m, _: done(lambda: m.append(nn.Tanh()), lambda: m.__delitem__(3))),
    Change(
        "a layer with parameters appended",
        mlp,
        lambda m, _: done(lambda: m.append(nn.Linear(3, 3).to(DOUBLE)), lambda: m.__delitem__(3)),
    ),
    Change(
        "a layer removed",
        sequential(lambda: nn.Linear(3, 4), nn.Tanh, nn.Tanh, lambda: nn.Linear(4, 3)),
        lambda m, _: done(lambda: m.__delitem__(2)),
    ),
    Change("a layer inserted", mlp, lambda m, _: done(lambda: m.insert(1, nn.Softsign()), lambda: m.__delitem__(1))),
    Change(
        "layers in another order",
        sequential(lambda: nn.Linear(3, 4), nn.Tanh, nn.LeakyReLU, lambda: nn.Linear(4, 3)),
        lambda m, _: exchanged(m, 1, 2),
    ),
    Change(
        "layers with parameters in another order",
        sequential(lambda: nn.Linear(3, 3), nn.Tanh, lambda: nn.Linear(3, 3)),
        lambda m, _: exchanged(m, 0, 2),
    ),
    Change(
        "a layer used twice",
        sequential(lambda: nn.Linear(3, 3), nn.Tanh, lambda: nn.Linear(3, 3)),
        lambda m, _: done(lambda: m.append(m[0]), lambda: m.__delitem__(3)),
    ),
    Change("a layer in the place of another one too", Two, lambda m, _: patch.dict(m._modules, d=m.c)),
    Change("a ModuleList reversed", Listed, lambda m, _: exchanged(m.layers, 0, 1)),
    Change(
        "a ModuleList longer",
        Listed,
        lambda m, _: done(lambda: m.layers.append(nn.Softsign()), lambda: m.layers.__delitem__(2)),
    ),
    Change("another head of a ModuleDict", Listed, lambda m, _: patch.object(m, "head", "y")),
    Change("the heads of a ModuleDict exchanged", Listed, lambda m, _: exchanged(m.heads, "x", "y")),  # type: ignore[arg-type]
    Change("a bias removed", mlp, lambda m, _: attribute(m[2], "bias", None)),
    Change("tied", Two, lambda m, _: attribute(m.d, "weight", m.c.weight), telling=True),
    Change("untied", tied, lambda m, _: attribute(m.d, "weight", nn.Parameter(m.c.weight.detach() * 1.5))),
    Change(
        "tied to another one",
        tied,
        lambda m, _: patch.multiple(m.d, weight=nn.Parameter(m.c.weight.detach().T.clone())),
    ),
    Change("weight norm", mlp, lambda m, _: normed(m[0]), telling=True),
    Change(
        "spectral norm",
        mlp,
        lambda m, _: done(
            lambda: parametrizations.spectral_norm(m[0]), lambda: parametrize.remove_parametrizations(m[0], "weight")
        ),
    ),
    Change(
        "a parametrization",
        Two,
        lambda m, _: done(
            lambda: parametrize.register_parametrization(m.c, "weight", Symmetric()),
            lambda: parametrize.remove_parametrizations(m.c, "weight"),
        ),
    ),
    Change("pruned", mlp, lambda m, _: masked(m[0])),
    Change("pruned further", pruned, lambda m, _: done(lambda: prune.l1_unstructured(m[0], "weight", 4))),
    Change(
        "weight norm of the old kind",
        mlp,
        lambda m, _: done(lambda: nn.utils.weight_norm(m[0]), lambda: nn.utils.remove_weight_norm(m[0])),
    ),
    Change("the mode of the whole", with_statistics, lambda m, _: done(m.eval, m.train)),
    Change("the mode of one child", with_statistics, lambda m, _: done(m[1].eval, m[1].train)),
    Change(
        "a flag of batch normalisation",
        lambda: with_statistics().eval(),
        lambda m, _: patch.multiple(m[1], running_mean=None, running_var=None),
    ),
    Change("a rate of dropout", between(nn.Dropout(0.0)), lambda m, _: patch.object(m[1], "p", 1.0)),
    Change("the mode of dropout", between(nn.Dropout(1.0)), lambda m, _: done(m[1].eval, m[1].train)),
    Change(
        "the mode that a forward reads", net(lambda m: 3.0 if m.training else 1.0), lambda m, _: done(m.eval, m.train)
    ),
    Change(**layer(nn.LeakyReLU(), "negative_slope", 0.9)),
    Change(**layer(nn.LayerNorm(4), "eps", 1.0)),
    Change(**layer(nn.GroupNorm(2, 4), "num_groups", 1)),
    Change(**layer(nn.Softmax(1), "dim", 0)),
    Change(**layer(nn.ELU(), "alpha", 3.0)),
    Change(**layer(nn.Hardtanh(), "max_val", 0.2)),
    Change(**layer(nn.Softplus(), "beta", 3.0)),
    Change(**layer(nn.BatchNorm1d(4, track_running_stats=False), "eps", 1.0)),
    Change(
        "BatchNorm2d.eps, in a network that JAX serves", cnn, lambda m, _: patch.object(m[1], "eps", 1.0), batch=images
    ),
    Change("Conv2d.dilation", cnn, lambda m, _: patch.multiple(m[0], dilation=(2, 2), padding=(2, 2)), batch=images),
    Change(
        "Conv2d.padding_mode",
        cnn,
        lambda m, _: patch.multiple(m[0], padding_mode="circular", _reversed_padding_repeated_twice=[1, 1, 1, 1]),
        batch=images,
    ),
    Change("MaxPool2d.kernel_size", cnn, lambda m, _: patch.object(m[3], "kernel_size", 1), batch=images),
    Change(
        "a pooling layer of another kind",
        cnn,
        lambda m, _: patch.dict(m._modules, {"3": nn.AvgPool2d(2)}),
        batch=images,
    ),
)
