"""Define regression on images of s×s pixels, a small task family for convolutional networks.

y = w·x / s,   w ~ U[−1, 1]^(s·s),   x ~ U[−1, 1]^(s·s), row by row
"""

from experiments.problems.tasks.draws import Floats


class Images:
    """The task family in which a task is a weight per pixel."""

    version = 1

    def __init__(self, name: str, side: int) -> None:
        self.name, self.side = name, side
        self.inputs = self.parameters = side * side

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Return the tasks' points, see `Family.points`."""
        weight = -1.0 + 2.0 * task[:, :, None]
        x = -1.0 + 2.0 * x
        return x, x @ weight / self.side


FAMILY = Images("images", side=8)
