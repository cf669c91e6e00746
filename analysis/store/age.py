"""Whether a cell is of the sources that the last run into its results folder saw, as `cells/sources.json` has them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from analysis.store import fields

FILE = "sources.json"
OLDER, GONE = "older sources", "no longer in the project"
_PROJECT = ("baselines/", "experiments/", "maml_bench/")
Sources = Mapping[str, str]
"""SHA-256 by file."""


def parse_sources(raw: object) -> Sources:
    """The digests that a run left of all sources. Raises `ValueError`."""
    return fields.labels(fields.mapping(raw, "the file"), "sources")


def age(sources: Sources, implementation: str, now: Sources) -> str:
    """What is to be said of a cell, nothing if all its sources are as they are now; `now`: empty, where nobody knows.

    Of the user's files those count that are known now.
    """
    if not now or sources.items() <= now.items():
        return ""
    if any(name not in now and _is_of(name, implementation) for name in sources):
        return GONE
    changed = (name for name, digest in sources.items() if now.get(name) != digest)
    return OLDER if any(name in now or name.startswith(_PROJECT) for name in changed) else ""


def count_ages(ages: Iterable[str]) -> Iterator[str]:
    """A line for each kind of what is not of today."""
    for mark, count in sorted(Counter(filter(None, ages)).items()):
        yield f"{count} {'cell is' if count == 1 else 'cells are'} marked `{mark}`: measure again, or remove"


def _is_of(name: str, implementation: str) -> bool:
    """Whether a file is that of an implementation in the project."""
    return name.startswith("baselines/") and name.endswith(f"/{implementation.replace('-', '_')}.py")
