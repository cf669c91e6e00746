"""higher 0.2.1 with the defaults of `innerloop_ctx`, as many a first attempt has it.

`copy_initial_weights=True` starts the inner loop from copies of the weights that are not part of the graph, so the
query loss' `backward` leaves nothing in the model's `.grad`, and its optimizer trains nothing (its issues 30, 54, 69).
"""

from typing import ClassVar

from baselines.libraries.higher import Higher


class HigherCopiedWeights(Higher):
    """`higher.innerloop_ctx(model, optimizer)`."""

    computes = "maml"
    options: ClassVar[dict[str, bool]] = {}
