"""Define linear regression in three dimensions, whose meta-gradient has a closed form.

y = w·x + b,   w ~ U[−2, 2]³,   b ~ U[−1, 1],   x ~ U[−1, 1]³
"""

from experiments.problems.tasks.draws import Floats


class Linear:
    """The task family in which a task is a weight vector and an offset."""

    name = "linear"
    version = 1
    inputs = 3
    parameters = 4

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, see `Family.points`."""
        weight, offset = -2.0 + 4.0 * task[:, :3, None], -1.0 + 2.0 * task[:, 3:, None]
        x = -1.0 + 2.0 * x
        return x, x @ weight + offset


FAMILY = Linear()
