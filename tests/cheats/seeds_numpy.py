"""Draw from NumPy's generator. [the state of a random generator]"""

import numpy as np

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it, and draw."""
        result = super().meta_gradient(prepared)
        np.random.standard_normal()
        return result
