"""Take tasks in pairs, and drop what is left over. [with 3 tasks]"""

from baselines.handwritten.unrolled import Unrolled
from maml_bench import MetaGradient, TaskBatch


class Cheat(Unrolled):
    """Right but for one term."""

    def meta_gradient(self, prepared: TaskBatch) -> MetaGradient:
        """Compute it for an even number of tasks, or one."""
        tasks = len(prepared.support_x)
        even = max(1, tasks - tasks % 2)
        result = super().meta_gradient(TaskBatch(*(part[:even] for part in prepared)))
        return MetaGradient(None, result.grads)
