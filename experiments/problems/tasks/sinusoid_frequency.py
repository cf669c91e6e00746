"""Define sinusoid regression with a different frequency in each task (Li et al. 2017, Meta-SGD, section 4.1).

y = A sin(ω x + φ),   A ~ U[0.1, 5],   ω ~ U[0.8, 1.2],   φ ~ U[0, π],   x ~ U[−5, 5],   no noise
"""

import numpy as np

from experiments.problems.tasks.draws import Floats


class SinusoidFrequency:
    """The task family in which a task is an amplitude, a frequency and a phase."""

    name = "sinusoid_frequency"
    version = 1
    inputs = 1
    parameters = 3

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, see `Family.points`."""
        amplitude = 0.1 + 4.9 * task[:, 0, None, None]
        frequency = 0.8 + 0.4 * task[:, 1, None, None]
        phase = np.pi * task[:, 2, None, None]
        x = -5.0 + 10.0 * x
        return x, amplitude * np.sin(frequency * x + phase)


FAMILY = SinusoidFrequency()
