"""The fastest exact second-order MAML here: the adjoint sweep, traced to flat graphs and compiled.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

What makes it fast, each exact in exact arithmetic:

- the inner step and its pull-back are compiled once for all k, without guards (`_tracing`, `_sweep`);
- all tasks go together, and while they share φ₀ = θ their products are one (`_sweep`);
- weights of linear layers stay factored while their factors are smaller than they are (`_factored`);
- transposed products are turned to the layout of the weights (`_rewriting`);
- on a GPU the whole sweep is one CUDA graph (`_cuda_graph`).
"""

from baselines._compiler.base import CompiledSweep
from baselines.handwritten.adjoint import Adjoint


class Compiled(CompiledSweep):
    """Any number of inner steps, any `nn.Module` that `adjoint` takes; `execution` says how they are run."""

    computes = "maml"
    second_order = True
    fallback = Adjoint
