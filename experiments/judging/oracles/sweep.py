"""Compute the meta-gradient by an adjoint sweep over the inner loop, without a graph through it.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ)
    v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

gives v = (I − α∇²S(φ₀)) … (I − α∇²S(φ_{K−1})) ∇Q(φ_K), the second-order meta-gradient of one task (Finn et al. 2017,
eq. 1); v before the sweep is FOMAML's result, θ − φ_K is Reptile's, ∇S(θ) is pre-training's. It only needs ∇S, ∇Q and
Hessian-vector products, and works on any dict of arrays or tensors; with a leading task axis it sweeps many tasks at
once.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Computes = Literal["maml", "fomaml", "reptile", "pretraining"]
Params = dict[str, Any]
Gradient = Callable[[Params], Params]
HessianVector = Callable[[Params, Params], Params]

COMPLEX_STEP = 1e-30


def sweep(
    computes: Computes,
    theta: Params,
    support_gradient: Gradient,
    query_gradient: Gradient,
    support_hessian_vector: HessianVector,
    lr: float,
    steps: int,
) -> Params:
    """Compute what `computes` names for each task; shapes are those of `theta`."""
    if computes == "pretraining":
        return support_gradient(theta)
    iterates = [theta]
    for _ in range(steps):
        iterates.append(_subtract(iterates[-1], lr, support_gradient(iterates[-1])))
    if computes == "reptile":
        return _subtract(theta, 1.0, iterates[-1])
    v = query_gradient(iterates[-1])
    if computes == "maml":
        for phi in reversed(iterates[:-1]):
            v = _subtract(v, lr, support_hessian_vector(phi, v))
    return v


def complex_step(gradient: Gradient) -> HessianVector:
    """Return a function for ∇²S(φ) v = Im ∇S(φ + i h v) / h, h = 1e-30: exact to rounding, since nothing is subtracted.

    Source: Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions". `gradient`
    has to be analytic where it is evaluated: no abs, conj, norm or var, and branches on the real part only.
    """

    def product(phi: Params, v: Params) -> Params:
        shifted = {name: phi[name] + 1j * COMPLEX_STEP * v[name] for name in phi}
        return {name: np.imag(g) / COMPLEX_STEP for name, g in gradient(shifted).items()}

    return product


def _subtract(a: Params, factor: float, b: Params) -> Params:
    return {name: a[name] - factor * b[name] for name in a}
