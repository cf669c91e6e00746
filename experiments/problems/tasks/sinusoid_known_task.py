"""Define the tasks of `sinusoid` with amplitude and phase as further inputs, from the very same draws.

They are for the oracle of Finn et al. 2017, section 5.1: a network whose inputs identify the task.
"""

import numpy as np

from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.sinusoid import Sinusoid


class SinusoidKnownTask(Sinusoid):
    """The task family in which inputs are (x, A, φ); it keeps the name "sinusoid", which determines the draws."""

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, see `Family.points`; uniforms have one feature, points three."""
        x, y = super().points(task, x)
        identity = np.stack([0.1 + 4.9 * task[:, 0], np.pi * task[:, 1]], axis=1)  # (tasks, 2): A and φ
        return np.concatenate([x, np.broadcast_to(identity[:, None], (*x.shape[:2], 2))], axis=2), y


FAMILY = SinusoidKnownTask()
