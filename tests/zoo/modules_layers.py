"""Layers of torch.nn, of all kinds, each between linear ones."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from tests.zoo.records import DOUBLE, Build, Module

Make = Callable[[], nn.Module]


class Among(nn.Module):
    """A layer whose input is a linear function of x, of `shape` per point, and its output an input to another one."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...], call: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.shape, self.layer, self.call = shape, layer, call
        self.a = nn.Linear(3, math.prod(shape))
        self.to(DOUBLE)
        with torch.no_grad():
            mode = self.training
            self.b = nn.Linear(self.inner(torch.randn(3, 3, dtype=DOUBLE)).shape[1], 3, dtype=DOUBLE)
            self.train(mode)

    def inner(self, x: Tensor) -> Tensor:
        """(points, 3) to (points, features)."""
        h = self.a(x).unflatten(1, self.shape)
        y = self.layer(h) if self.call is None else self.call(self.layer, h)
        return y.flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """(points, 3) to (points, 3)."""
        return self.b(self.inner(x))  # type: ignore[no-any-return]


def among(make: Make, *shape: int, call: Callable[..., Tensor] | None = None, evaluated: bool = False) -> Build:
    """Build the network, in evaluation mode if it is `evaluated`."""

    def build() -> nn.Module:
        model = Among(make(), shape, call)
        return model.eval() if evaluated else model

    return build


def first(layer: nn.Module, h: Tensor) -> Tensor:
    """The first of several outputs."""
    return layer(h)[0]  # type: ignore[no-any-return]


def with_itself(layer: nn.Module, h: Tensor) -> Tensor:
    """Two inputs."""
    return layer(h, torch.sin(h))  # type: ignore[no-any-return]


def thrice(layer: nn.Module, h: Tensor) -> Tensor:
    """A cell, step by step."""
    state: Any = None
    for part in h.unbind(1):
        state = layer(part, state)
    return state[0] if isinstance(state, tuple) else state  # type: ignore[no-any-return]


def attention(layer: nn.Module, h: Tensor) -> Tensor:
    """Attention of the points' parts to each other."""
    return layer(h, h, h, need_weights=False)[0]  # type: ignore[no-any-return]


def indices(layer: nn.Module, h: Tensor) -> Tensor:
    """Rows of a table, as integers derived from h choose them, weighed by h."""
    rows = (h.detach() * 10).long().abs() % 5
    return layer(rows) * h.mean(1, keepdim=True)  # type: ignore[no-any-return]


def embedded(layer: nn.Module, h: Tensor) -> Tensor:
    """Rows of an embedding, weighed by h."""
    rows = (h.detach() * 10).long().abs() % 5
    return layer(rows) * h[..., None]  # type: ignore[no-any-return]


def unpooled(layer: nn.Module, h: Tensor) -> Tensor:
    """The largest back in their places."""
    values, places = F.max_pool1d(h, 2, return_indices=True)
    return layer(values, places)  # type: ignore[no-any-return]


class Hardsigmoid(nn.Module):
    """nn.Hardsigmoid, of which torch has no second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        """By clamp."""
        return (x / 6 + 0.5).clamp(0, 1)


class Bag(nn.EmbeddingBag):
    """nn.EmbeddingBag's mean, of which torch has no second derivative."""

    def __init__(self) -> None:
        super().__init__(5, 4)

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        """By indexing."""
        return self.weight[rows].mean(1)


ACTIVATIONS: tuple[nn.Module, ...] = (
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(), nn.ELU(), nn.CELU(0.5), nn.SELU(), nn.GELU(),
    nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(2.0), nn.Softsign(), nn.Softshrink(0.1), nn.Hardshrink(0.1),
    nn.Hardtanh(-0.5, 0.5), nn.Hardswish(), nn.Sigmoid(), nn.LogSigmoid(), nn.Tanh(),
    nn.Tanhshrink(), nn.Threshold(0.1, 0.3), nn.GLU(), nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1),
    nn.ReLU(inplace=True), nn.LeakyReLU(inplace=True), nn.Identity(),
)  # fmt: skip

SHAPED: tuple[tuple[str, Make, tuple[int, ...]], ...] = (
    ("Linear", lambda: nn.Linear(4, 2), (4,)),
    ("Linear without bias", lambda: nn.Linear(4, 2, bias=False), (4,)),
    ("Conv1d", lambda: nn.Conv1d(2, 3, 3, padding=1, stride=2), (2, 5)),
    ("Conv2d", lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 4, 4)),
    ("Conv2d of groups", lambda: nn.Conv2d(2, 4, 3, groups=2, dilation=2, padding=2), (2, 4, 4)),
    ("Conv2d with circular padding", lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 4, 4)),
    ("Conv3d", lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    ("ConvTranspose1d", lambda: nn.ConvTranspose1d(2, 1, 3, stride=2), (2, 4)),
    ("ConvTranspose2d", lambda: nn.ConvTranspose2d(1, 2, 2, stride=2, output_padding=1), (1, 2, 2)),
    ("ConvTranspose3d", lambda: nn.ConvTranspose3d(1, 1, 2), (1, 2, 2, 2)),
    ("BatchNorm1d", lambda: nn.BatchNorm1d(4), (4,)),
    ("BatchNorm2d without running statistics", lambda: nn.BatchNorm2d(2, track_running_stats=False), (2, 3, 3)),
    ("BatchNorm2d with a cumulative mean", lambda: nn.BatchNorm2d(2, momentum=None), (2, 3, 3)),
    ("BatchNorm3d without a weight", lambda: nn.BatchNorm3d(2, affine=False), (2, 2, 2, 2)),
    ("InstanceNorm1d", lambda: nn.InstanceNorm1d(2, affine=True), (2, 4)),
    ("InstanceNorm2d with running statistics", lambda: nn.InstanceNorm2d(2, track_running_stats=True), (2, 3, 3)),
    ("GroupNorm", lambda: nn.GroupNorm(2, 4), (4, 3)),
    ("LayerNorm", lambda: nn.LayerNorm([2, 3]), (2, 3)),
    ("LayerNorm without a weight", lambda: nn.LayerNorm(4, elementwise_affine=False), (4,)),
    ("RMSNorm", lambda: nn.RMSNorm(4), (4,)),
    ("LocalResponseNorm", lambda: nn.LocalResponseNorm(2), (4, 3)),
    ("Dropout of nothing", lambda: nn.Dropout(0.0), (4,)),
    ("Dropout of everything", lambda: nn.Dropout(1.0), (4,)),
    ("MaxPool1d", lambda: nn.MaxPool1d(2), (2, 4)),
    ("MaxPool2d", lambda: nn.MaxPool2d(3, 2, padding=1), (1, 4, 4)),
    ("MaxPool3d", lambda: nn.MaxPool3d(2), (1, 2, 4, 2)),
    ("AvgPool1d", lambda: nn.AvgPool1d(2), (2, 4)),
    ("AvgPool2d", lambda: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), (1, 4, 4)),
    ("LPPool1d", lambda: nn.LPPool1d(2, 2), (2, 4)),
    ("AdaptiveAvgPool2d", lambda: nn.AdaptiveAvgPool2d((2, 3)), (1, 4, 4)),
    ("AdaptiveMaxPool1d", lambda: nn.AdaptiveMaxPool1d(2), (2, 5)),
    ("ReflectionPad1d", lambda: nn.ReflectionPad1d(1), (2, 3)),
    ("ReplicationPad2d", lambda: nn.ReplicationPad2d(1), (1, 3, 3)),
    ("ConstantPad1d", lambda: nn.ConstantPad1d((1, 0), 0.5), (2, 3)),
    ("CircularPad2d", lambda: nn.CircularPad2d(1), (1, 3, 3)),
    ("Upsample, nearest", lambda: nn.Upsample(scale_factor=2), (1, 2, 2)),
    ("Upsample, bilinear", lambda: nn.Upsample(size=(3, 5), mode="bilinear", align_corners=True), (1, 2, 2)),
    ("Upsample, bicubic", lambda: nn.Upsample(scale_factor=2, mode="bicubic"), (1, 3, 3)),
    ("PixelShuffle", lambda: nn.PixelShuffle(2), (4, 2, 2)),
    ("PixelUnshuffle", lambda: nn.PixelUnshuffle(2), (1, 4, 4)),
    ("ChannelShuffle", lambda: nn.ChannelShuffle(2), (4, 2, 2)),
    ("Unfold", lambda: nn.Unfold(2), (1, 3, 3)),
    ("Fold", lambda: nn.Fold((3, 3), 2), (4, 4)),
    ("TransformerEncoderLayer", lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (3, 4)),
    ("TransformerEncoderLayer, norm first", lambda: _encoder(), (3, 4)),
    ("weight norm", lambda: parametrizations.weight_norm(nn.Linear(4, 3)), (4,)),
    ("weight norm of the old kind", lambda: nn.utils.weight_norm(nn.Linear(4, 3)), (4,)),
    ("spectral norm", lambda: parametrizations.spectral_norm(nn.Linear(4, 3)), (4,)),
    ("an orthogonal weight", lambda: parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley"), (3,)),
    ("a weight with two parametrizations", lambda: _parametrized(), (3,)),
)

CALLED: tuple[tuple[str, Make, tuple[int, ...], Callable[..., Tensor]], ...] = (
    ("Bilinear", lambda: nn.Bilinear(3, 3, 2), (3,), with_itself),
    ("CosineSimilarity", lambda: nn.CosineSimilarity(dim=2), (2, 3), with_itself),
    ("PairwiseDistance", lambda: nn.PairwiseDistance(), (2, 3), with_itself),
    ("RNN", lambda: nn.RNN(2, 3, batch_first=True), (3, 2), first),
    ("GRU", lambda: nn.GRU(2, 3, batch_first=True), (3, 2), first),
    ("LSTM", lambda: nn.LSTM(2, 3, batch_first=True), (3, 2), first),
    ("LSTM, both ways, of two layers", lambda: nn.LSTM(2, 2, 2, batch_first=True, bidirectional=True), (2, 2), first),
    ("LSTM with projections", lambda: nn.LSTM(2, 3, batch_first=True, proj_size=2), (3, 2), first),
    ("RNNCell", lambda: nn.RNNCell(2, 3, nonlinearity="relu"), (3, 2), thrice),
    ("GRUCell", lambda: nn.GRUCell(2, 3), (3, 2), thrice),
    ("LSTMCell", lambda: nn.LSTMCell(2, 3), (3, 2), thrice),
    ("MultiheadAttention", lambda: nn.MultiheadAttention(4, 2, batch_first=True), (3, 4), attention),
    (
        "MultiheadAttention with other keys",
        lambda: nn.MultiheadAttention(4, 2, kdim=4, vdim=4, batch_first=True, add_bias_kv=True),
        (3, 4),
        attention,
    ),
    (
        "TransformerDecoderLayer",
        lambda: nn.TransformerDecoderLayer(4, 1, 4, 0.0, batch_first=True),
        (2, 4),
        with_itself,
    ),
    ("Embedding", lambda: nn.Embedding(5, 2, padding_idx=0), (3,), embedded),
    ("MaxUnpool1d", lambda: nn.MaxUnpool1d(2), (1, 4), unpooled),
)

EVALUATED: tuple[tuple[str, Make, tuple[int, ...]], ...] = (
    ("BatchNorm1d in evaluation", lambda: nn.BatchNorm1d(4), (4,)),
    ("Dropout in evaluation", lambda: nn.Dropout(0.5), (4,)),
    ("Dropout2d in evaluation", lambda: nn.Dropout2d(0.5), (2, 2, 2)),
    ("AlphaDropout in evaluation", lambda: nn.AlphaDropout(0.5), (4,)),
    ("RReLU in evaluation", lambda: nn.RReLU(), (4,)),
    ("TransformerEncoderLayer in evaluation", lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (3, 4)),
    ("spectral norm in evaluation", lambda: parametrizations.spectral_norm(nn.Linear(4, 3)), (4,)),
)

MODULES = (
    *(Module(repr(layer), among(lambda layer=layer: copy.deepcopy(layer), 4)) for layer in ACTIVATIONS),  # type: ignore[misc]
    *(Module(name, among(make, *shape)) for name, make, shape in SHAPED),
    *(Module(name, among(make, *shape, call=call)) for name, make, shape, call in CALLED),
    *(Module(name, among(make, *shape, evaluated=True)) for name, make, shape in EVALUATED),
    Module("Hardsigmoid", among(nn.Hardsigmoid, 4), plain=among(Hardsigmoid, 4), tolerance=1e-6),
    Module("EmbeddingBag", among(lambda: nn.EmbeddingBag(5, 4), 3, call=indices), plain=among(Bag, 3, call=indices)),
)


def _encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 1, 4, 0.0, nn.GELU(), batch_first=True, norm_first=True)


class _Scaled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / (1 + weight.norm())  # type: ignore[no-any-return]


class _Skew(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu(1) - weight.triu(1).T


def _parametrized() -> nn.Module:
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", _Skew())
    parametrize.register_parametrization(layer, "weight", _Scaled())
    return layer
