"""`python -m tests.zoo [IMPLEMENTATION …]`: which implementation answers rightly for which entry of the zoo.

.  right      r  refused, in a sentence      k  known of the library      !  raised otherwise      W  wrong
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

import baselines
from baselines._compiler import tracing
from tests.zoo.changes import CHANGES
from tests.zoo.drawing import DRAWS
from tests.zoo.judging import RAISED, WORST, WRONG, Verdict, judge, judge_draw, judge_module, judge_walk, worst
from tests.zoo.modules import MODULES


class Walk(NamedTuple):
    """Thirty states, one after the other."""

    name: str
    seed: int


LETTERS = dict(zip(WORST, ".rk!W", strict=True))
KINDS: tuple[tuple[str, Sequence[Any], Callable[[Any, str], list[Verdict]]], ...] = (
    ("changes", CHANGES, judge),
    ("draws", DRAWS, judge_draw),
    ("modules", MODULES, judge_module),
    (
        "walks",
        [Walk(f"from seed {seed}", seed) for seed in range(2)],
        lambda walk, name: judge_walk(walk.seed, name, 30),
    ),
)


def main(names: list[str]) -> None:
    """Print every entry that is not right or refused by all, the reasons, and the sums."""
    torch.set_num_threads(1)
    tracing.MachineCode.__call__ = lambda self, *tensors: self.graph(*tensors)  # type: ignore[method-assign]
    names = names or sorted(baselines.names())
    for kind, entries, of in KINDS:
        sums: dict[str, Counter[str]] = {name: Counter() for name in names}
        print(f"\n## {kind}: {len(entries)}\n")
        for entry in entries:
            found = {name: worst(of(entry, name)) for name in names}
            for name, verdict in found.items():
                sums[name][verdict.status] += 1
            bad = {name: verdict for name, verdict in found.items() if verdict.status in (RAISED, WRONG)}
            if bad:
                print("".join(LETTERS[verdict.status] for verdict in found.values()), entry.name, flush=True)
                for name, verdict in bad.items():
                    print(f"    {name}: {verdict.status}, {verdict.phase}: {verdict.words[:120]}")
        print()
        for name, sum_ in sums.items():
            print(f"{name:24s}", ", ".join(f"{status} {sum_[status]}" for status in WORST))


if __name__ == "__main__":
    main(sys.argv[1:])
