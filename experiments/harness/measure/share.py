"""What a measuring process does of a meta-batch: all of it, or a share, where several processes measure one cell."""

from typing import Protocol

import torch
from torch import nn

from baselines.contract import Baseline


class Share(Protocol):
    """One of the processes that measure a cell together."""

    @property
    def leads(self) -> bool:
        """Whether it is the one that reads and writes files."""

    @property
    def whole(self) -> bool:
        """Whether it sees whole meta-batches."""

    def shared(self, implementation: Baseline) -> Baseline:
        """Return the implementation over all of the processes, which call it with the same meta-batch."""

    def agreed(self, content: bytes, device: torch.device) -> bytes:
        """Return the leader's `content`, on every process."""

    def check_weights(self, model: nn.Module) -> None:
        """Raise Wrong where a model's weights are not the leader's to the last bit."""


class Whole:
    """The only process."""

    leads = whole = True

    def shared(self, implementation: Baseline) -> Baseline:
        """Return the implementation itself."""
        return implementation

    def agreed(self, content: bytes, device: torch.device) -> bytes:
        """Return `content`."""
        return content

    def check_weights(self, model: nn.Module) -> None:
        """Do nothing: there is no other process to compare with."""


WHOLE = Whole()
