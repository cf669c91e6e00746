"""Random models and tasks on which right functions are judged: none may be accused."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from experiments.audit.probes import Computes, Probe, points, weights
from experiments.audit.worker import Calls
from experiments.harness.status import Unavailable, Wrong
from experiments.judging.verify import MAX_KAPPA
from tests.conftest import bench
from tests.mutants import Mutant
from tests.mutants.adapter import implementation, load


@dataclass(frozen=True)
class Draw:
    """A network and a meta-batch."""

    hidden: int
    width: int
    activation: str
    steps: int
    lr: float
    tasks: int
    shots: int
    queries: int
    seed: int
    normalised: bool
    """With batch normalisation, which only the audit's own networks have."""


DRAWS = st.builds(
    Draw,
    hidden=st.integers(1, 3),
    width=st.integers(1, 12),
    activation=st.sampled_from(["relu", "tanh"]),
    steps=st.integers(1, 5),
    lr=st.sampled_from([0.0, 1e-3, 0.05, 0.2]),
    tasks=st.integers(1, 5),
    shots=st.integers(1, 8),
    queries=st.integers(1, 8),
    seed=st.integers(0, 2**20),
    normalised=st.booleans(),
)


class Rejected(Exception):
    """An ill-conditioned draw: it cannot be judged."""


def accusation(mutant: Mutant, computes: Computes, draw: Draw) -> str:
    """Return what the checks say against a function on this draw, nothing if it is right; raises Rejected."""
    if draw.normalised:
        return audited(mutant, computes, draw)
    model = {"hidden": draw.hidden, "width": draw.width, "activation": draw.activation}
    settings = {"inner_steps": draw.steps, "inner_lr": draw.lr, "tasks": draw.tasks, "shots": draw.shots}
    judged = bench("unrolled", "float64", draw.seed, model=model, queries=draw.queries, **settings)
    judged.__dict__["implementation"] = implementation(load(mutant), computes)
    try:
        judged.verify()
    except Unavailable as error:
        raise Rejected(str(error)) from None
    except Wrong as wrong:
        return f"regress: {wrong}"
    return audited(mutant, computes, draw)


def audited(mutant: Mutant, computes: Computes, draw: Draw) -> str:
    """The same by the audit's own rule, with its networks, points and loss."""
    layers = (2, *[draw.width] * draw.hidden, 1)
    fewest = 4 if draw.normalised else 1  # of fewer points, what is normalised hardly depends on anything
    batch = points(2, draw.seed, draw.tasks, max(fewest, draw.shots), max(fewest, draw.queries))
    probe = Probe(
        "",
        layers,
        weights(layers, draw.seed, draw.normalised),
        batch,
        draw.lr,
        draw.steps,
        activation=draw.activation,
        normalised=draw.normalised,
    )
    tolerance = probe.tolerances["float64"]
    if tolerance > 100 * MAX_KAPPA * np.finfo(np.float64).eps:
        raise Rejected("ill-conditioned")
    try:  # a call restores the grad mode
        left = Calls(str(mutant.file), mutant.function).call(probe.request() | {"seed": 0})["grads"]
    except Exception as error:
        if draw.normalised:  # as a `vmap` may
            raise Rejected(str(error)) from None
        raise
    grads = {n: np.zeros_like(probe.theta[n]) if g is None else np.array(g) for n, g in left.items()}
    distance = probe.distance(grads, probe.right[computes])
    return "" if distance <= tolerance else f"audit: error {distance:.1e}, tolerance {tolerance:.1e}"
