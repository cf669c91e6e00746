"""Compare the sources of a cell with those of the last run into its results folder, stored in `cells/sources.json`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from experiments.harness.records import fields

FILE = "sources.json"
OLDER, GONE = "older sources", "no longer in the project"
_PROJECT = ("baselines/", "experiments/", "maml_bench/")
Sources = Mapping[str, str]
"""The SHA-256 digest of each source file."""


def parse_sources(raw: object) -> Sources:
    """Parse the digests of all sources that a run left. Raises `ValueError`."""
    return fields.labels(fields.mapping(raw, "the file"), "sources")


def age(sources: Sources, implementation: str, now: Sources) -> str:
    """Return how a cell's sources differ from today's: `OLDER`, `GONE`, or empty if they do not.

    now: today's sources, empty if they are unknown. The user's own files count only if they are among them.
    """
    if not now or sources.items() <= now.items():
        return ""
    if any(name not in now and _is_of(name, implementation) for name in sources):
        return GONE
    changed = (name for name, digest in sources.items() if now.get(name) != digest)
    return OLDER if any(name in now or name.startswith(_PROJECT) for name in changed) else ""


def count_ages(ages: Iterable[str]) -> Iterator[str]:
    """Yield a line for each kind of outdated cells, with their number."""
    for mark, count in sorted(Counter(filter(None, ages)).items()):
        yield f"{count} {'cell is' if count == 1 else 'cells are'} marked `{mark}`: measure again, or remove"


def _is_of(name: str, implementation: str) -> bool:
    """Tell whether a file is that of an implementation in the project."""
    return name.startswith("baselines/") and name.endswith(f"/{implementation.replace('-', '_')}.py")
