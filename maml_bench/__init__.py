"""Everything that an implementation of your own, a script, a test or a notebook imports of maml-bench.

>>> from torch import nn
>>> from maml_bench import trainable
>>> list(trainable(nn.Linear(2, 1)))
['weight', 'bias']
"""

from importlib.util import find_spec
from pathlib import Path

_OURS = Path(__file__).resolve().parent.with_name("baselines")
_PLACES = (spec.submodule_search_locations or ()) if (spec := find_spec("baselines")) else ()
if [Path(place).resolve() for place in _PLACES] != [_OURS]:  # an import of theirs would fail without saying why
    _HIDING = ", ".join(_PLACES) or (spec and spec.origin) or "nothing"
    raise ImportError(
        f"maml_bench needs its own package {_OURS}, but what Python finds under that name is {_HIDING}: rename that, "
        "or start from another folder"
    )

from baselines.contract import (
    Baseline,
    Computes,
    InnerLoop,
    Loss,
    MetaGradient,
    Params,
    Spec,
    Stateless,
    TaskBatch,
    take_grads,
    trainable,
)

__all__ = [
    "Baseline",
    "Computes",
    "InnerLoop",
    "Loss",
    "MetaGradient",
    "Params",
    "Spec",
    "Stateless",
    "TaskBatch",
    "take_grads",
    "trainable",
]
