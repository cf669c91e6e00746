"""What the libraries are known not to do: failures that are no news, and whose disappearing would be."""

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Limitation:
    """A failure that is expected.

    implementations: those that show it, by name.
    trait: what a network's description must have for it to show (see `experiments/judging/oracles/described.py`);
        empty: always.
    symptom: a pattern found in the reason of the failure.
    pointer: where the library's own discussion is, in words; url: its address.
    """

    library: str
    implementations: tuple[str, ...]
    trait: str
    symptom: str
    pointer: str
    url: str
    sentence: str

    @property
    def reason(self) -> str:
        """What a row says."""
        return f"{self.library} {self.pointer}: {self.sentence}"


KNOWN = (
    Limitation(
        "learn2learn",
        ("learn2learn", "learn2learn-first-order"),
        "unused",
        "UnboundLocalError: .*'gradients'",
        "issues 314 and 387",
        "https://github.com/learnables/learn2learn/issues/387",
        "adapt() ends in an UnboundLocalError where the loss does not use a parameter, unless told allow_unused=True",
    ),
    Limitation(
        "learn2learn",
        ("learn2learn", "learn2learn-first-order"),
        "running",
        "the call changed .*running_mean",
        "clone_module (no issue of its own; 207 is near)",
        "https://github.com/learnables/learn2learn/issues/207",
        "clones share their buffers with the model, whose running statistics are overwritten by every task",
    ),
    Limitation(
        "higher",
        ("higher-untracked",),
        "",
        "the whole meta-gradient is zero",
        "issues 63 and 129",
        "https://github.com/facebookresearch/higher/issues/129",
        "with track_higher_grads=False the model gets no gradient",
    ),
    Limitation(
        "higher",
        ("higher-copied-weights",),
        "",
        "the whole meta-gradient is zero",
        "issues 30, 54 and 69",
        "https://github.com/facebookresearch/higher/issues/54",
        "by default, copy_initial_weights=True, the model gets no gradient",
    ),
)


def find(implementation: str, traits: Collection[str], reason: str) -> Limitation | None:
    """The limitation that explains why `implementation` failed with `reason` on a network with these traits."""
    for known in KNOWN:
        concerned = implementation in known.implementations and known.trait in ("", *traits)
        if concerned and re.search(known.symptom, reason):
            return known
    return None
