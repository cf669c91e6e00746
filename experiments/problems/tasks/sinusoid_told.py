"""The tasks of `sinusoid`, the very same draws, with amplitude and phase told beside each x.

For the oracle of Finn et al. 2017, section 5.1: a network that need not find out which task it is in.
"""

import numpy as np

from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.sinusoid import Sinusoid


class SinusoidTold(Sinusoid):
    """Has the name of `sinusoid`, since what is drawn is the same; x becomes (x, A, φ)."""

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """See `Family.points`; x comes with one feature and leaves with three."""
        x, y = super().points(task, x)
        told = np.stack([0.1 + 4.9 * task[:, 0], np.pi * task[:, 1]], axis=1)  # (tasks, 2)
        return np.concatenate([x, np.broadcast_to(told[:, None], (*x.shape[:2], 2))], axis=2), y


FAMILY = SinusoidTold()
