"""Define sinusoid regression (Finn et al. 2017, section 5.1).

y = A sin(x − φ),   A ~ U[0.1, 5],   φ ~ U[0, π],   x ~ U[−5, 5],   no noise
"""

import numpy as np

from experiments.problems.tasks.draws import Floats


class Sinusoid:
    """The task family in which a task is an amplitude and a phase."""

    name = "sinusoid"
    version = 1
    inputs = 1
    parameters = 2

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, see `Family.points`."""
        amplitude = 0.1 + 4.9 * task[:, 0, None, None]
        phase = np.pi * task[:, 1, None, None]
        x = -5.0 + 10.0 * x
        return x, amplitude * np.sin(x - phase)


FAMILY = Sinusoid()
