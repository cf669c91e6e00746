"""Compute linear regression's meta-gradient in closed form: its loss is quadratic, so its Hessian is constant.

With X the points with a 1 appended, H = 2 XᵀX / n and b = 2 Xᵀy / n of the support points, and H', b' of the query
points, a task's inner loop and results are

    φ_K = (I − αH)ᴷ θ + Σⱼ (I − αH)ʲ αb,   maml = (I − αH)ᴷ (H' φ_K − b'),   fomaml = H' φ_K − b'
"""

import numpy as np

from experiments.judging.oracles.sweep import Computes
from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.stream import Arrays


def closed_form(
    computes: Computes, theta: dict[str, Floats], batch: Arrays, lr: float, steps: int
) -> dict[str, Floats]:
    """Compute the mean over tasks of what `computes` names, for out.weight (1, inputs) and out.bias (1,)."""
    start = np.append(theta["out.weight"][0], theta["out.bias"])
    total = np.zeros_like(start)
    for support_x, support_y, query_x, query_y in zip(*batch, strict=True):
        hessian, offset = _quadratic(support_x, support_y)
        factor = np.eye(len(start)) - lr * hessian
        adapted = np.linalg.matrix_power(factor, steps) @ start
        for j in range(steps):
            adapted = adapted + np.linalg.matrix_power(factor, j) @ (lr * offset)
        query_hessian, query_offset = _quadratic(query_x, query_y)
        gradient = query_hessian @ adapted - query_offset
        total += {
            "maml": np.linalg.matrix_power(factor, steps) @ gradient,
            "fomaml": gradient,
            "reptile": start - adapted,
            "pretraining": hessian @ start - offset,
        }[computes]
    mean = total / len(batch.support_x)
    return {"out.weight": mean[None, :-1], "out.bias": mean[-1:]}


def _quadratic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return H (features + 1, features + 1) and b (features + 1,) of one task's mean squared error."""
    x = np.column_stack([x, np.ones(len(x))])
    return 2 * x.T @ x / len(x), 2 * x.T @ y[:, 0] / len(x)
