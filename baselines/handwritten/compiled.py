"""Compute second-order MAML by the adjoint sweep, traced to flat graphs and compiled: the fastest exact way here.

    φ₀ = θ,   φₖ₊₁ = φₖ − α ∇S(φₖ);   v = ∇Q(φ_K);   for k = K−1 … 0:   v ← v − α ∇²S(φₖ) v

What makes it fast, each exact in exact arithmetic (all in `baselines/_compiler`):

- the inner step and its pull-back are compiled once for all k, without guards in the code (`tracing`, `meta_gradient`);
- all tasks go together, and while they share φ₀ = θ their products are one (`step`);
- adapted weights of linear layers stay θ plus low rank while the factors are smaller than the weight (`low_rank`);
- a pull-back gets what its step has computed anyway, as far as that pays (`partition`);
- transposed products are turned to the layout of the weights (`simplification`);
- on a GPU the whole sweep is one CUDA graph (`cuda_graph`).
"""

from baselines._compiler.base import CompiledSweep
from baselines.handwritten.adjoint import Adjoint


class Compiled(CompiledSweep):
    """Serve any number of inner steps and any `nn.Module` that `adjoint` serves; `execution` says how they are run."""

    computes = "maml"
    second_order = True
    fallback = Adjoint
