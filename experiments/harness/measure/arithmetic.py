"""Estimate the time of the adjoint sweep's products and copies for a multilayer perceptron; it is no bound.

Operations, for each layer in → out and each task, with the activations of every gradient kept for its
Hessian-vector product; a product of (points, in) with (in, out), of (points, out) with (out, in) or of (out, points)
with (points, in) is one:

    ∇S, ∇Q            3: forward, towards the inputs, towards the weight; 2 in the first layer, whose inputs have none
    ∇²S(φₖ) v         6: each of the 3 has two factors, and a derivative in each; 2 in the first layer

    products = K · (3 + 6) + 3

Each is timed at just these shapes, as a batch over tasks. Layers with one input or one output are not counted: their
products are sums. Bytes: an inner step reads φₖ and writes φₖ₊₁, its pull-back reads φₖ and v and writes v, 5 copies
of the parameters for each task, at the speed of adding two arrays of that size.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from experiments.harness.records import Parameters

Clock = Callable[[Callable[[], object]], float]
COPIES = 5


def layers(model: Parameters, inputs: int) -> list[tuple[int, int]]:
    """Return (in, out) of every linear layer of a described multilayer perceptron."""
    sizes = [inputs, *[model.integer("width")] * model.integer("hidden"), model.integer("outputs", 1)]
    return list(pairwise(sizes))


def arithmetic_ms(
    sizes: Sequence[tuple[int, int]],
    tasks: int,
    steps: int,
    points: tuple[int, int],
    like: Tensor,
    clock: Clock,
) -> float:
    """Estimate milliseconds for one meta-gradient; `points`: support and query; `clock` times a call in milliseconds.

    like: a tensor of the dtype and on the device that count.
    """
    total = 0.0
    for place, (fan_in, fan_out) in enumerate(sizes):
        if min(fan_in, fan_out) == 1:
            continue
        gradient, curvature = (2, 2) if place == 0 else (3, 6)
        for count, rows in ((steps * (gradient + curvature), points[0]), (gradient, points[1])):
            total += count * product_ms(tasks, rows, fan_in, fan_out, like, clock)
    parameters = tasks * sum(fan_in * fan_out + fan_out for fan_in, fan_out in sizes)
    return total + steps * COPIES * copy_ms(parameters, like, clock)


def product_ms(tasks: int, rows: int, fan_in: int, fan_out: int, like: Tensor, clock: Clock) -> float:
    """Time the three products of a layer, batched over tasks; return their mean in milliseconds."""
    h, delta = like.new_ones(tasks, rows, fan_in), like.new_ones(tasks, rows, fan_out)
    weight = like.new_ones(tasks, fan_out, fan_in)
    found = 0.0
    for left, right in ((h, weight.mT), (delta, weight), (delta.mT, h)):
        out = torch.bmm(left, right)
        found += clock(partial(torch.bmm, left, right, out=out))
    return found / 3


def copy_ms(numbers: int, like: Tensor, clock: Clock) -> float:
    """Time one array read or written, in milliseconds: a third of adding two to a third."""
    a, b = like.new_ones(numbers), like.new_ones(numbers)
    out = torch.add(a, b)
    return clock(lambda: torch.add(a, b, out=out)) / 3
