"""How long an all-reduce takes over a link, and when that is longer than the work between two of them.

With latency ℓ, w bytes per second and B bytes, over N ranks:

    ring    2 (N − 1) (ℓ + B / (N w))      what Gloo does, and NCCL with large tensors
    tree    2 ⌈log₂ N⌉ (ℓ + B / w)         fewer messages one after the other, but all of B in each
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """What a message meets between two ranks: seconds, and bytes per second."""

    latency_s: float
    bandwidth: float


LINKS = {"fabric": Link(5e-6, 100e9 / 8), "internet": Link(50e-3, 100e6 / 8)}
"""Assumed, not measured: a data centre's network of 100 Gbit/s, and homes with 100 Mbit/s and 50 ms between them."""


def ring_s(link: Link, size: float, ranks: int) -> float:
    """Seconds for an all-reduce of `size` bytes by a ring."""
    return 2 * (ranks - 1) * (link.latency_s + size / ranks / link.bandwidth)


def tree_s(link: Link, size: float, ranks: int) -> float:
    """Seconds for an all-reduce of `size` bytes by a tree, there and back."""
    return 2 * math.ceil(math.log2(ranks)) * (link.latency_s + size / link.bandwidth)


def dominated_from(link: Link, size: float, work_s: float) -> int:
    """The smallest number of ranks, 2 or more, whose ring takes longer than each rank's work between two all-reduces.

    2 (N − 1) (ℓ + B / (N w)) grows with N: it is where N² ℓ + N (B/w − ℓ − work/2) − B/w turns positive.
    """
    transfer = size / link.bandwidth
    b = transfer - link.latency_s - work_s / 2
    root = (-b + math.sqrt(b * b + 4 * link.latency_s * transfer)) / (2 * link.latency_s)
    return max(2, math.floor(root) + 1)


def work_for(link: Link, size: float, ranks: int) -> float:
    """Seconds of work that each rank needs between two all-reduces for these, done the faster way, to take as long."""
    return min(ring_s(link, size, ranks), tree_s(link, size, ranks))
