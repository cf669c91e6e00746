"""higher 0.2.1 with `track_higher_grads=False`, which is often taken for its first-order MAML.

It detaches the weights after each step, since it is meant for evaluation; the query loss' `backward` stops at them and
leaves nothing in the model's `.grad` (its issues 63, 129). `higher-first-order` detaches the gradients instead.
"""

from typing import ClassVar

from baselines.libraries.higher import Higher


class HigherUntracked(Higher):
    """`higher.innerloop_ctx(…, track_higher_grads=False)`."""

    computes = "fomaml"
    options: ClassVar[dict[str, bool]] = {"copy_initial_weights": False, "track_higher_grads": False}
