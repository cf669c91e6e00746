"""Define few-shot classification of Omniglot (Lake et al. 2015): 1,623 handwritten characters, 20 images each.

As in Finn et al. 2017, all characters are shuffled, whatever their alphabet; 1,100 train, 100 validate, 423 test. An
episode turns each of its classes by a random multiple of 90 degrees. `maml-bench fetch` makes the file that is read.
"""

import functools
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.problems.tasks.draws import Floats, raw, uniform
from experiments.problems.tasks.episodes import Ids, without_replacement

SIDE, DRAWERS = 28, 20
FILE = "omniglot-28.npz"
FOLDER = "MAML_BENCH_DATA"  # the environment variable with the file's folder; without it, data/


class Omniglot:
    """The classes of Omniglot; `split` and `images` raise FileNotFoundError or ValueError without a usable file."""

    name = "omniglot"
    version = 1
    side = SIDE
    per_class = DRAWERS + 1  # which images, then the rotation
    per_image = 0

    def split(self, name: str) -> Ids:
        """Return the numbers of a split's classes, see `Classes.split`."""
        count = len(images())
        shuffled = np.argsort(uniform(raw("omniglot split v1", 0, 0, count)))
        first, last = {"train": (0, 1100), "validation": (1100, 1200), "test": (1200, count)}[name]
        return shuffled[first:last]

    def images(self, classes: Ids, chosen: Floats, varied: Floats) -> Floats:
        """Return different images of each class, see `Classes.images`."""
        which = without_replacement(chosen[:, :DRAWERS], varied.shape[1])
        upright = images()[classes[:, None], which].reshape(*which.shape, SIDE, SIDE) / 255.0
        turns = np.floor(4 * chosen[:, DRAWERS]).astype(int)
        turned = np.stack([np.rot90(x, k, axes=(1, 2)) for x, k in zip(upright, turns, strict=True)])
        return turned.reshape(*which.shape, SIDE * SIDE)


def path() -> Path:
    """Return where the file of images is looked for."""
    return Path(os.environ.get(FOLDER, "data")) / FILE


@functools.cache
def images() -> NDArray[np.uint8]:
    """Read all images, (characters, drawers, side·side), 255 for ink; raises FileNotFoundError or ValueError."""
    if not path().exists():
        raise FileNotFoundError(f"there is no {FILE}: `maml-bench fetch` makes it")
    with np.load(path(), allow_pickle=False) as file:
        array: NDArray[np.uint8] = file["images"]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1:] != (DRAWERS, SIDE * SIDE):
        raise ValueError(f"{FILE} is not what `maml-bench fetch` makes")
    return array


FAMILY = Omniglot()
