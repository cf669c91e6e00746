"""Define few-shot classification of generated characters that look handwritten, and need no data.

A class is a character: two to four strokes, each a cubic Bézier curve with random control points. An image is one
handwriting of it: the control points are moved a little, the whole is turned, sheared, scaled and shifted, and the
width of the pen varies. There are 1,623 classes, split like Omniglot in Finn et al. 2017: 1,100 to train, 100 to
validate, 423 to test.
"""

import functools

import numpy as np

from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.episodes import Ids

STROKES, CONTROLS = 4, 4
STEPS = 36  # points along a stroke
SHAKE, TURN, SHEAR, SCALE, SHIFT = 0.05, 0.25, 0.25, 0.15, 0.06  # ± of the image's side, or radians
PEN = (0.015, 0.024)  # standard deviation of the ink around a stroke, of the image's side
DENSITY = 1.0  # of ink where a single point of a stroke lies; strokes are many such points, and ink saturates at 1


class Glyphs:
    """The 1,623 classes of characters; the number of a class determines its strokes."""

    version = 1
    classes = 1623
    per_class = 0
    per_image = STROKES * CONTROLS * 2 + 6  # shakes, then turn, shear, scale, shift (2) and pen

    def __init__(self, name: str, side: int) -> None:
        self.name, self.side = name, side

    def split(self, name: str) -> Ids:
        """Return the numbers of a split's classes, see `Classes.split`."""
        first, last = {"train": (0, 1100), "validation": (1100, 1200), "test": (1200, self.classes)}[name]
        return np.arange(first, last)

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """Return different images of each class, see `Classes.images`; a class has as many as are asked for."""
        controls, drawn = _characters(self.classes)
        n, points = varied.shape[:2]
        signed = 2 * varied - 1
        shakes, (turn, shear, scale, *shift) = signed[..., :-6], np.moveaxis(signed[..., -6:-1], -1, 0)
        curves = controls[classes][:, None] + SHAKE * shakes.reshape(n, points, STROKES, CONTROLS, 2)
        strokes = np.einsum("sc,npkcd->npksd", _bezier(), curves) - 0.5  # (n, points, strokes, steps, 2), centred
        cos, sin = np.cos(TURN * turn), np.sin(TURN * turn)
        matrix = np.array([[cos, -sin + SHEAR * shear], [sin, cos]]) * (1 + SCALE * scale)  # (2, 2, n, points)
        at = np.einsum("ednp,npksd->npkse", matrix, strokes) + 0.5
        at += SHIFT * np.stack(shift, axis=-1)[:, :, None, None]
        pen = (PEN[0] + (PEN[1] - PEN[0]) * varied[..., -1])[..., None, None, None]
        pixels = (np.arange(self.side) + 0.5) / self.side
        down, across = (np.exp(-(((pixels - at[..., axis, None]) / pen) ** 2) / 2) for axis in (1, 0))
        down *= DENSITY * drawn[classes][:, None, :, None, None]  # strokes that a class does not have leave no ink
        ink = np.einsum("npksi,npksj->npij", down, across, optimize=True)
        images: Floats = np.minimum(ink, 1.0).reshape(n, points, -1)
        return images


@functools.cache
def _characters(count: int) -> tuple[Floats, Floats]:
    """Draw all classes' control points, (classes, strokes, controls, 2) in the unit square, and a mask of strokes.

    The mask, (classes, strokes), is 1 for strokes that a class has and 0 for others.
    """
    draws = uniform(raw("glyphs classes v1", 0, 0, count * (STROKES * CONTROLS * 2 + 1))).reshape(count, -1)
    controls = 0.05 + 0.9 * draws[:, 1:].reshape(count, STROKES, CONTROLS, 2)
    strokes = 2 + np.floor(draws[:, :1] * (STROKES - 1))
    return controls, (np.arange(STROKES) < strokes).astype(np.float64)


@functools.cache
def _bezier() -> Floats:
    """Return the weights of a cubic Bézier curve's control points along the curve, (steps, controls)."""
    t = np.linspace(0, 1, STEPS)[:, None]
    weights: Floats = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    return weights


FAMILY = Glyphs("glyphs", side=28)
