"""Define few-shot classification of the handwritten digits of scikit-learn: 1,797 real images of 8×8 pixels.

From E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository. Ten
classes are few, so digits 0 to 4 become 40 training classes, each turned by multiples of 90 degrees and mirrored; 5 to
9 are the test classes. They are the validation classes, too: no choice depends on validation.
"""

import functools

import numpy as np

from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.episodes import Ids, without_replacement

VIEWS = 8


class Digits:
    """The classes of digits, with 174 images each, as many as the rarest digit has."""

    name = "digits"
    version = 1
    side = 8
    per_class = 174
    per_image = 0

    def split(self, name: str) -> Ids:
        """Return the numbers of a split's classes; class 10·v + d is digit d in view v, and view 0 is upright."""
        if name == "train":
            return np.add.outer(10 * np.arange(VIEWS), np.arange(5)).ravel()
        return np.arange(5, 10)

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """Return different images of each class, see `Classes.images`."""
        which = without_replacement(chosen, varied.shape[1])
        images: Floats = _images(self.per_class)[classes[:, None], which]
        return images


@functools.cache
def _images(each: int) -> Floats:
    """Return `each` images of every class, (10·VIEWS, each, 64), with pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    upright = np.stack([data.images[data.target == digit][:each] / 16 for digit in range(10)])
    turned = [np.rot90(upright, turns, axes=(2, 3)) for turns in range(4)]
    views = turned + [np.flip(view, axis=3) for view in turned]
    return np.concatenate(views).reshape(10 * VIEWS, each, -1)


FAMILY = Digits()
