"""Handwritten-like characters that are drawn by the computer: few-shot images that need no data.

A class is an alphabet's character as it is meant: two to four strokes, each a cubic Bézier curve whose control points
lie anywhere. An image is one writing of it: control points shaken, the whole turned, sheared, scaled and shifted, with
a pen of its own width. There are 1,623 classes in the split that Finn et al. 2017 give Omniglot: 1,100 to train,
100 to validate, 423 to test.
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
    """1,623 classes; their strokes are drawn once, from the number of the class."""

    version = 1
    classes = 1623
    per_class = 0
    per_image = STROKES * CONTROLS * 2 + 6  # shakes, then turn, shear, scale, shift (2) and pen

    def __init__(self, name: str, side: int) -> None:
        self.name, self.side = name, side

    def split(self, name: str) -> Ids:
        """See `Classes.split`."""
        first, last = {"train": (0, 1100), "validation": (1100, 1200), "test": (1200, self.classes)}[name]
        return np.arange(first, last)

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """See `Classes.images`; there is no end of them."""
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
        found: Floats = np.minimum(ink, 1.0).reshape(n, points, -1)
        return found


@functools.cache
def _characters(count: int) -> tuple[Floats, Floats]:
    """Control points, (classes, strokes, controls, 2), in the unit square; and which strokes there are."""
    draws = uniform(raw("glyphs classes v1", 0, 0, count * (STROKES * CONTROLS * 2 + 1))).reshape(count, -1)
    controls = 0.05 + 0.9 * draws[:, 1:].reshape(count, STROKES, CONTROLS, 2)
    strokes = 2 + np.floor(draws[:, :1] * (STROKES - 1))
    return controls, (np.arange(STROKES) < strokes).astype(np.float64)


@functools.cache
def _bezier() -> Floats:
    """The weights of a cubic curve's control points along it, (steps, controls)."""
    t = np.linspace(0, 1, STEPS)[:, None]
    weights: Floats = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    return weights


FAMILY = Glyphs("glyphs", side=28)
