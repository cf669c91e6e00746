"""Choose the oracle that computes the ground truth for a network, and refuse cases that cannot be judged."""

from pathlib import Path

import torch
from torch import nn

from baselines.contract import Computes, InnerLoop, Loss
from experiments.harness.status import Unavailable
from experiments.judging import verify
from experiments.judging.double_backward import double_backward
from experiments.judging.oracles import described
from experiments.judging.oracles.described import Description
from experiments.judging.verify import MAX_KAPPA, Oracle, Reference, Weights
from experiments.problems.tasks.stream import Arrays

NEAREST_KINK = 1e-9  # a unit nearer to its kink than this may be beyond it after other rounding
LARGEST_CNN = 4096  # filters × pixels; of larger networks the gradient in NumPy would take minutes


def oracle(
    description: Description | None, model: nn.Module, loss: Loss, inner: InnerLoop, computes: Computes
) -> tuple[str, Oracle]:
    """Return the strongest oracle that there is for a network, after its name.

    description: of a built-in network; None for a user's module, which has no gradient in NumPy.
    """
    about = description or {}
    large = about.get("filters", 0) * about.get("side", 0) ** 2 > LARGEST_CNN
    if description is not None and not large and about.get("loss") != "cross-entropy":
        return by_numpy(description, inner, computes)

    def by_autograd(theta: Weights, batch: Arrays) -> Weights:
        return double_backward(computes, model, loss, theta, batch, inner.lr, inner.steps)

    return "double backward", by_autograd


def by_numpy(description: Description, inner: InnerLoop, computes: Computes) -> tuple[str, Oracle]:
    """Return the NumPy oracle of a described network, after its name; the oracle raises Unavailable at a kink."""

    def away_from_kinks(theta: Weights, batch: Arrays) -> Weights:
        numpy = described.Oracle(description, inner.lr, inner.steps)
        result = numpy(computes, theta, batch)
        if numpy.nearest_kink < NEAREST_KINK:
            raise Unavailable(f"a unit is {numpy.nearest_kink:.0e} from its kink")
        return result

    return described.Oracle(description, inner.lr, inner.steps).name, away_from_kinks


def reference(
    oracle: Oracle,
    theta: Weights,
    points: Arrays,
    dtype: torch.dtype,
    displacement: bool,
    folder: Path | None,
    key: str,
) -> Reference:
    """Compute the ground truth at these weights and points, and its κ in a dtype.

    displacement: the result is a difference of weights. folder: where references are kept for other processes, under
    `key` and the inputs. Raises Unavailable at a kink, or where rounding alone changes the result much.
    """

    def compute() -> Reference:
        return verify.reference(oracle, theta, points, torch.finfo(dtype).eps, displacement)

    truth = compute() if folder is None else verify.load_or_compute(folder, key, theta, points, compute)
    if not truth.kappa <= MAX_KAPPA:
        raise Unavailable(f"it is ill-conditioned (κ = {truth.kappa:.0e})")
    return truth
