"""Regression on images of 8×8 pixels: a small task for convolutional networks.

y = w·x / 8,   w ~ U[−1, 1]⁶⁴,   x ~ U[−1, 1]⁶⁴, row by row
"""

from experiments.tasks.draws import Floats

PIXELS = 64


class Images:
    """A task is a weight per pixel."""

    name = "images"
    version = 1
    inputs = PIXELS
    parameters = PIXELS

    def points(self, task: Floats, x: Floats) -> tuple[Floats, Floats]:
        """See `Family.points`."""
        weight = -1.0 + 2.0 * task[:, :, None]
        x = -1.0 + 2.0 * x
        return x, x @ weight / 8


FAMILY = Images()
