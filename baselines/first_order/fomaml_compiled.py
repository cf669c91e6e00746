"""Compute first-order MAML by the forward half of `compiled`, with no sweep back.

φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ),   result = mean over tasks of ∇Q(φ_K)
"""

from baselines._compiler.base import CompiledSweep
from baselines.first_order.fomaml import Fomaml


class FomamlCompiled(CompiledSweep):
    """Compute FOMAML for any `nn.Module` and any number of inner steps."""

    computes = "fomaml"
    second_order = False
    fallback = Fomaml
