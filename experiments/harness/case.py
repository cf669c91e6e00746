"""A case: one setting of one experiment; the unit of planning, turn-taking and resuming."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Json = Any  # what json.dumps takes


@dataclass(frozen=True)
class Case:
    """Every implementation of a case gets the same tasks, weights and settings.

    name: for people, unique in its experiment up to device, dtype, seed and threads.
    params: what the experiment asks for, in JSON's types.
    """

    experiment: str
    name: str
    params: dict[str, Json] = field(hash=False)
    device: str
    dtype: str
    seed: int
    threads: int

    @property
    def id(self) -> str:
        """The case's folder in the store."""
        return f"{self.name}-{self.device}-{self.dtype}-seed{self.seed}-threads{self.threads}"

    def json(self) -> dict[str, Json]:
        """The case as the store and the child receive it."""
        return asdict(self)


@dataclass(frozen=True)
class Options:
    """What the user asked of a run, as far as it shapes the cases."""

    profile: str
    device: str
    seeds: tuple[int, ...] | None
    threads: int
    model: dict[str, Json] | None
    """{"file", "factory", "sha256"} of a module of the user's, instead of the experiment's own."""


def digest(value: Json, length: int = 12) -> str:
    """SHA-256 of a JSON value, shortened to `length` hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def matches(name: str, pattern: str) -> bool:
    """Whether a case is called so, or as the pattern says (`study-*`): names may have brackets of their own."""
    return name == pattern or fnmatchcase(name, pattern)


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
