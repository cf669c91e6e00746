"""The handwritten digits that scikit-learn brings along: 1,797 real images of 8×8 pixels.

From E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository. Ten
classes are few: 5 to 9 test, and 0 to 4 train, each of these turned by multiples of 90 degrees and mirrored to make 40
classes. What is looked at while training are 5 to 9, too: nothing is chosen by it.
"""

import functools

import numpy as np

from experiments.problems.tasks.draws import Floats
from experiments.problems.tasks.episodes import Ids, without_replacement

VIEWS = 8


class Digits:
    """As many images of each class as the rarest has, 174."""

    name = "digits"
    version = 1
    side = 8
    per_class = 174
    per_image = 0

    def split(self, name: str) -> Ids:
        """See `Classes.split`; class 10·v + d is digit d in view v, of which 0 is upright."""
        if name == "train":
            return np.add.outer(10 * np.arange(VIEWS), np.arange(5)).ravel()
        return np.arange(5, 10)

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """See `Classes.images`."""
        which = without_replacement(chosen, varied.shape[1])
        found: Floats = _images(self.per_class)[classes[:, None], which]
        return found


@functools.cache
def _images(each: int) -> Floats:
    """(10·VIEWS, each, 64), from 0 to 1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    upright = np.stack([data.images[data.target == digit][:each] / 16 for digit in range(10)])
    turned = [np.rot90(upright, turns, axes=(2, 3)) for turns in range(4)]
    views = turned + [np.flip(view, axis=3) for view in turned]
    return np.concatenate(views).reshape(10 * VIEWS, each, -1)


FAMILY = Digits()
