"""All networks of the zoo, as they are built."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo import modules_layers as of_torch
from tests.zoo.modules_built import (
    KeywordsOnly,
    Shared,
    Stepped,
    Unused,
    classified,
    cnn,
    compiled,
    expanded,
    experts,
    frozen_but_scale,
    in_place_input,
    mapped,
    only_a_bias,
    own_gradient,
    own_gradient_by_func,
    scalars,
    strided,
    with_alias,
    without_gradient,
    wrapped,
)
from tests.zoo.modules_written import (
    attend,
    attend_fused,
    between,
    branching,
    cached,
    checkpointed,
    counting,
    dense,
    equilibrium,
    film,
    frozen,
    hyper,
    keeping,
    layers,
    looping,
    lora,
    low,
    mixture,
    parameter,
    plain,
    rebound,
    residual,
    reversed_gradient,
    square,
    squared,
    squared_of_old,
    standardised,
    straight,
    straight_by_data,
    top_mixture,
    two_checkpoints,
    written,
    written_in_place,
)
from tests.zoo.records import DOUBLE, Module, Net, images

WRITTEN = (
    Module("a multilayer perceptron", lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(DOUBLE)),
    Module("a convolutional network", cnn, images),
    Module("no hidden layer", lambda: nn.Linear(3, 3, dtype=DOUBLE)),
    Module("residual", between(residual, c=square, d=square)),
    Module(
        "densely connected",
        written(dense, layers=lambda: nn.ModuleList([nn.Linear(3, 2), nn.Linear(5, 2)]), head=lambda: nn.Linear(7, 3)),
    ),
    Module("gated", between(lambda m, h: torch.sigmoid(m.c(h)) * torch.tanh(m.d(h)), c=square, d=square)),
    Module("mixture of experts", between(mixture, experts=experts, gate=lambda: nn.Linear(4, 3))),
    Module("mixture of the two best experts", between(top_mixture, experts=experts, gate=lambda: nn.Linear(4, 3))),
    Module("FiLM", between(film, condition=lambda: nn.Linear(4, 8))),
    Module("hyper-network", between(hyper, maker=lambda: nn.Linear(2, 16), code=parameter(2))),
    Module("attention by products", between(attend, qkv=lambda: nn.Linear(4, 12))),
    Module("attention by scaled_dot_product_attention", between(attend_fused, qkv=lambda: nn.Linear(4, 12))),
    Module("deep equilibrium", between(equilibrium, c=square)),
    Module(
        "einsum", between(lambda m, h: torch.einsum("pi,pj,ijk->pk", h, torch.tanh(h), m.core), core=parameter(4, 4, 4))
    ),
    Module(
        "fft",
        between(lambda m, h: torch.fft.irfft(torch.fft.rfft(h, dim=1) * m.filter, n=4, dim=1), filter=parameter(3)),
    ),
    Module(
        "complex numbers within",
        between(lambda m, h: torch.view_as_complex(h.unflatten(1, (2, 2))).pow(2).abs().repeat(1, 2)),
    ),
    Module("a complex parameter", between(lambda m, h: (h * torch.view_as_complex(m.w)).real, w=parameter(4, 2))),
    Module("straight-through by detach", between(straight)),
    Module("straight-through by .data", between(straight_by_data)),
    Module("a custom function", between(lambda m, h: squared(h))),
    Module("a custom function of the old kind", between(lambda m, h: squared_of_old(h))),
    Module("gradient reversal", between(lambda m, h: torch.tanh(reversed_gradient(h)))),
    Module("where", between(lambda m, h: torch.where(h > 0, h * h, torch.sin(h)))),
    Module("clamp", between(lambda m, h: (2 * h).clamp(-0.5, 0.7))),
    Module("max over points", between(lambda m, h: h - h.max(0).values)),
    Module("topk", between(lambda m, h: h.topk(2, 1).values.repeat(1, 2))),
    Module("sort", between(lambda m, h: torch.sort(h, 1).values ** 2)),
    Module("cumsum", between(lambda m, h: torch.cumsum(torch.tanh(h), 1))),
    Module("cumprod", between(lambda m, h: torch.cumprod(h, 1))),
    Module("logsumexp", between(lambda m, h: h - torch.logsumexp(h, 1, keepdim=True))),
    Module(
        "norm and cosine", between(lambda m, h: F.normalize(h, dim=1) + F.cosine_similarity(h, h.roll(1, 1))[:, None])
    ),
    Module("gather by argmax", between(lambda m, h: h * h.gather(1, h.argmax(1, keepdim=True)))),
    Module("index by a tensor", between(lambda m, h: h[:, torch.tensor([3, 2, 1, 0])] * h)),
    Module("a mask", between(lambda m, h: h.masked_fill(h < 0, 0.1) * h)),
    Module("index_add", between(lambda m, h: torch.zeros_like(h).index_add(1, torch.tensor([0, 1, 1, 3]), h * h))),
    Module(
        "a determinant and a solution",
        between(
            lambda m, h: (
                torch.linalg.solve(m.w @ m.w.T + 5 * torch.eye(4, dtype=h.dtype), h.T).T
                * torch.logdet(m.w @ m.w.T + torch.eye(4, dtype=h.dtype))
            ),
            w=parameter(4, 4),
        ),
    ),
    Module("matrix exponential", between(lambda m, h: h @ torch.matrix_exp(0.3 * m.w), w=parameter(4, 4))),
    Module(
        "distances",
        between(lambda m, h: torch.cdist(h, m.w), w=parameter(4, 4)),
        plain=between(lambda m, h: (h[:, None] - m.w).norm(dim=2), w=parameter(4, 4)),
    ),
    Module("kernel of all points", between(lambda m, h: torch.exp(-(h[:, None] - h[None]).square().sum(-1)) @ h)),
    Module("axes renamed and moved", between(lambda m, h: h.view(-1, 2, 2).permute(0, 2, 1).reshape(-1, 4) * h)),
    Module("as_strided", between(lambda m, h: h.contiguous().as_strided((h.shape[0], 4), (4, 1)) ** 2)),
    Module("expand and stride tricks", between(lambda m, h: h[:, None].expand(-1, 3, -1).sum(1) ** 2)),
    Module("split and stack", between(lambda m, h: torch.stack(h.split(2, 1), 2).flatten(1).sin())),
    Module("roll and flip", between(lambda m, h: h.roll(1, 1) * h.flip(1))),
    Module("a branch by the data", between(branching)),
    Module("a loop by the data", between(looping, c=square)),
    Module(
        "a branch by the number of points", between(lambda m, h: torch.tanh(h) if len(h) == 3 else torch.sin(3 * h))
    ),
    Module("a number of the data", between(lambda m, h: torch.tanh(h) * float(h.detach().mean()))),
    Module("non-zero elements", between(lambda m, h: torch.tanh(h) * (h > 0).nonzero().shape[0])),
    Module("checkpointing", between(checkpointed, c=square), plain=between(plain, c=square)),
    Module(
        "checkpointing of segments",
        between(two_checkpoints, layers=layers),
        plain=between(lambda m, h: m.layers(h), layers=layers),
    ),
    Module("written in place", between(written_in_place)),
    Module("activations in place", between(lambda m, h: h.mul(2).sigmoid_().mul(h).relu_())),
    Module("a table that is cached", between(cached, table=lambda: None)),
    Module("activations that are kept", between(keeping, kept=lambda: None)),
    Module("parameters that nothing uses", Unused),
    Module("a frozen layer within", between(lambda m, h: torch.tanh(m.c(h)), c=frozen)),
    Module("everything frozen but a bias", only_a_bias),
    Module("low-rank adaptation", between(lora, c=frozen, down=parameter(1, 4), up=parameter(4, 1))),
    Module("shared and tied", lambda: Shared().to(DOUBLE)),
    Module("parameters without axes", scalars()),
    Module("parameters in one memory", expanded),
    Module("parameters that are not contiguous", strided),
    Module(
        "ParameterList",
        between(
            lambda m, h: torch.tanh(h @ m.list[0]) @ m.list[1],
            list=lambda: nn.ParameterList([torch.randn(4, 4), torch.randn(4, 4)]),
        ),
    ),
    Module(
        "ParameterDict",
        between(
            lambda m, h: h * m.dict["x"] + m.dict["y"],
            dict=lambda: nn.ParameterDict({"x": torch.randn(4), "y": torch.randn(4)}),
        ),
    ),
    Module(
        "ModuleDict",
        between(
            lambda m, h: m.dict["x"](torch.tanh(m.dict["y"](h))),
            dict=lambda: nn.ModuleDict({"x": square(), "y": square()}),
        ),
    ),
    Module("ModuleList backwards", between(lambda m, h: m.list[0](torch.tanh(m.list[-1](h))), list=experts)),
    Module("keywords only", between(lambda m, h: m.c(hidden=h, scale=1.5)["hidden"], c=KeywordsOnly)),
    Module("weight standardisation", between(standardised, c=square)),
    Module("single precision within", between(low), tolerance=1e-5),
    Module("a buffer that a forward updates", between(counting, mean=lambda: nn.Buffer(torch.ones(4)))),
    Module("a buffer that a forward replaces", between(rebound, mean=lambda: nn.Buffer(torch.ones(4)))),
    Module("a buffer that counts forwards", Stepped),
    Module("vmap within", between(lambda m, h: mapped(h))),
    Module("a derivative within, by torch.autograd", between(lambda m, h: own_gradient(h))),
    Module("a derivative within, by torch.func", between(lambda m, h: own_gradient_by_func(h))),
    Module("a part without gradients", between(lambda m, h: without_gradient(h))),
    Module(
        "a compiled part",
        between(lambda m, h: torch.tanh(m.c(h)), c=lambda: torch.jit.trace(square(), torch.zeros(1, 4))),
        plain=between(lambda m, h: torch.tanh(m.c(h)), c=square),
    ),
    Module("cross-entropy", Net, loss=lambda m: classified),
    Module("the largest error", Net, loss=lambda m: lambda p, y: (p - y).abs().max()),
    Module(
        "a loss of the whole batch's statistics", Net, loss=lambda m: lambda p, y: (p - y).std() + F.huber_loss(p, y)
    ),
    Module(
        "a loss that does not depend on the prediction",
        Net,
        loss=lambda m: lambda p, y: y.square().mean() + 0 * p.sum(),
    ),
    Module(
        "a loss with the weights' squares",
        Net,
        loss=lambda m: lambda p, y: F.mse_loss(p, y) + 0.1 * m.a.weight.square().sum(),
    ),
    Module(
        "a weight that a forward finds in a list too",
        with_alias,
        plain=between(lambda m, h: h * m.a.weight[:, 0]),
    ),
    Module("an input that is changed in place", in_place_input, plain=lambda: in_place_input(False)),
    Module(
        "a target that is changed in place",
        Net,
        loss=lambda m: lambda p, y: F.mse_loss(p, y.mul_(2)) if m.training else F.mse_loss(p, 2 * y),
        plain=lambda: Net().eval(),
    ),
    Module("in parallel", lambda: nn.DataParallel(Net())),
    Module("a compiled network", compiled, plain=wrapped),
    Module("nothing is trained, but for a scale", frozen_but_scale),
)

MODULES = of_torch.MODULES + WRITTEN
