"""Compute the largest curvature of a loss; gradient descent on a quadratic is stable up to α·λ_max = 2."""

import math

import numpy as np

from experiments.judging.oracles.sweep import Gradient, Params, complex_step
from experiments.problems.tasks.draws import Floats


def largest_eigenvalue(gradient: Gradient, theta: Params) -> float:
    """Compute λ_max, the largest eigenvalue over tasks of ∇²S at `theta`, whose arrays carry a leading task axis.

    The Hessians are computed column by column, by complex steps, so this is for a few hundred parameters at most.
    """
    product = complex_step(gradient)
    sizes = {name: math.prod(value.shape[1:]) for name, value in theta.items()}
    columns = []
    for unit in np.eye(sum(sizes.values())):
        parts = dict(zip(theta, np.split(unit, np.cumsum(list(sizes.values()))[:-1]), strict=True))
        v = {name: np.broadcast_to(parts[name].reshape(value.shape[1:]), value.shape) for name, value in theta.items()}
        columns.append(_flat(product(theta, v)))
    hessians = np.stack(columns, axis=-1)  # (tasks, parameters, parameters)
    return float(np.linalg.eigvalsh(hessians)[:, -1].max())


def _flat(params: Params) -> Floats:
    """Flatten and concatenate parameters, (tasks, parameters)."""
    return np.concatenate([value.reshape(len(value), -1) for value in params.values()], axis=1)
