"""What does `create_graph=True` do, and which way of clearing gradients destroys what it kept?

The first half of the tutorial notebook. With x = (3, 1), y = (1, 2), z = xᵀy and w = z²:

    ∇ₓw = 2(xᵀy)y,  ∇ᵧw = 2(xᵀy)x,  ∂²w/∂x₁∂xⱼ = 2y₁yⱼ,  ∂²w/∂x₁∂y₁ = 4x₁y₁ + 2x₂y₂,  ∂²w/∂x₁∂y₂ = 2x₂y₁

All numbers are small integers, so PyTorch's results must equal them exactly.
"""

import warnings
from collections.abc import Callable, Generator, Mapping

import torch
from torch import Tensor

from experiments.harness.experiment import Experiment, Measurement
from experiments.harness.measure.bench import Bench
from experiments.harness.records import Case, Options, Parameters, Result, Row
from experiments.harness.status import Wrong

X, Y = (3.0, 1.0), (1.0, 2.0)
Z = X[0] * Y[0] + X[1] * Y[1]

Obtained = dict[str, Tensor | None]
Expected = Mapping[str, list[float] | None]

FIRST = {"x.grad": [2 * Z * y for y in Y], "y.grad": [2 * Z * x for x in X]}
SECOND = {
    "x.grad": [2 * Y[0] * y for y in Y],
    "y.grad": [4 * X[0] * Y[0] + 2 * X[1] * Y[1], 2 * X[1] * Y[0]],
}


def first_derivatives(x: Tensor, y: Tensor) -> dict[str, Tensor | None]:
    """Call a plain `backward`: it leaves gradients on the leaves x and y, none on z, which is not a leaf."""
    z = x @ y
    (z * z).backward()
    return {"x.grad": x.grad, "y.grad": y.grad, "z.grad": None if z.is_leaf or not z.retains_grad else z.grad}


def second_derivatives(x: Tensor, y: Tensor, clear: Callable[[Tensor], object]) -> dict[str, Tensor | None]:
    """Call `backward(create_graph=True)`, clear the gradients, then call `backward` from the first entry of x.grad.

    clear: clears one gradient, right or wrong.
    """
    with warnings.catch_warnings():  # of the cycle leaf → .grad → graph; these tensors live for one call
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
        ((x @ y) ** 2).backward(create_graph=True)
    assert x.grad is not None and y.grad is not None
    e = x.grad[0]  # a view: its value follows x.grad, while its graph stays as it was
    before = e.detach().clone()
    clear(x.grad)
    clear(y.grad)
    after = e.detach().clone()
    e.backward()
    return {"e before clearing": before, "e after clearing": after, "x.grad": x.grad, "y.grad": y.grad}


def _plus(a: list[float], b: list[float]) -> list[float]:
    return [p + q for p, q in zip(a, b, strict=True)]


E_READS = FIRST["x.grad"][:1]

DEMONSTRATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Obtained], Expected, str]] = {
    "backward": (
        first_derivatives,
        {**FIRST, "z.grad": None},
        "closed form 2(xᵀy)y and 2(xᵀy)x; z is not a leaf",
    ),
    "cleared through .data": (
        lambda x, y: second_derivatives(x, y, lambda grad: grad.data.zero_()),
        SECOND | {"e before clearing": E_READS, "e after clearing": [0.0]},
        "pure second derivatives; e is a view and reads 0, its graph is intact",
    ),
    "cleared under no_grad": (
        lambda x, y: second_derivatives(x, y, lambda grad: torch.no_grad()(grad.zero_)()),
        SECOND | {"e before clearing": E_READS, "e after clearing": [0.0]},
        "the same, without .data",
    ),
    "not cleared": (
        lambda x, y: second_derivatives(x, y, lambda grad: None),
        {name: _plus(FIRST[name], SECOND[name]) for name in FIRST}
        | {"e before clearing": E_READS, "e after clearing": E_READS},
        "second derivatives land on top of the first",
    ),
    "the trap: recorded zero_()": (
        lambda x, y: second_derivatives(x, y, lambda grad: grad.zero_()),
        {"x.grad": [0.0, 0.0], "y.grad": [0.0, 0.0], "e before clearing": E_READS, "e after clearing": [0.0]},
        "the zeroing became part of the graph, whose derivative is 0",
    ),
}


def cases(options: Options) -> list[Case]:
    """Return the one case; it takes milliseconds."""
    return [Case("create_graph", "demonstrations", Parameters(), options.device, "float64", 0, options.threads)]


def measure(bench: Bench) -> Generator[float, None, Result]:
    """Run every demonstration and compare its gradients with the closed form; raises Wrong where they differ."""
    rows: list[Row] = []
    for done, (name, (demonstrate, expected, why)) in enumerate(DEMONSTRATIONS.items()):
        yield done / len(DEMONSTRATIONS)
        x, y = (torch.tensor(v, dtype=bench.dtype, device=bench.device, requires_grad=True) for v in (X, Y))
        for quantity, t in demonstrate(x, y).items():
            obtained = None if t is None else t.detach().reshape(-1).tolist()
            rows.append(
                {
                    "demonstration": name,
                    "quantity": quantity,
                    "expected": _text(expected[quantity]),
                    "obtained": _text(obtained),
                    "exact": expected[quantity] == obtained,
                    "why": why,
                }
            )
    different = [f"{r['quantity']} is {r['obtained']}, not {r['expected']}" for r in rows if not r["exact"]]
    if different:
        raise Wrong("; ".join(different))
    return Result(rows=rows)


def _text(values: list[float] | None) -> str:
    return "None" if values is None else ", ".join(f"{v:g}" for v in values)


EXPERIMENT = Experiment(
    cases=cases,
    measurements=(Measurement("demonstrate", measure),),
    compared=("pytorch",),
)
