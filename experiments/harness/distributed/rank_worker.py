"""A measuring process that is one of several ranks: `python -m experiments.harness.distributed.rank_worker FD`."""

import sys

from experiments.harness.processes import worker  # notes from here on what is imported, hence comes first

# isort: split
from experiments.harness.distributed.sharded import Rank, join
from experiments.harness.records.messages import Open


def rank(opening: Open) -> Rank:
    """Join the process group that `Ranks` names in the message that opens a cell."""
    return join(opening.group, opening.case.device)


if __name__ == "__main__":
    worker.main(int(sys.argv[1]), rank)
