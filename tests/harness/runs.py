"""What several tests in this folder share."""

import json
from collections.abc import Callable
from pathlib import Path

from experiments.harness.run import Plan

MakePlan = Callable[..., Plan]


BODY = """
    def meta_gradient(self, batch):
        {}
"""


RIGHT = """
from baselines.handwritten.unrolled import Unrolled

class Mine(Unrolled):
    pass
"""


def cells(plan: Plan, experiment: str = "*") -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(path.read_text()) for path in sorted(plan.store.cells.glob(f"{experiment}/*/*.json"))]


def mine(tmp_path: Path, text: str, name: str = "mine") -> Path:
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    return file
