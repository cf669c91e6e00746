"""Write records as JSON and read them as what they are; no other code of a measuring process sees decoded JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from experiments.harness.records import Parameters, messages
from experiments.harness.records.messages import Message

Json = Any  # what json.loads returns
KIND = "kind"


def encode(message: Message) -> bytes:
    """Write a message, with its kind."""
    return json.dumps({KIND: type(message).__name__, **asdict(message)}).encode()


def decode(text: bytes) -> Message:
    """Read a message of one of the kinds in `harness/records/messages.py`. Raises ValueError where it is none."""
    raw = json.loads(text)
    kinds: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(messages.Message)}
    if not isinstance(raw, dict) or raw.get(KIND) not in kinds:
        raise ValueError("not a message")
    message: Message = _typed(kinds[raw.pop(KIND)], raw)
    return message


def digest(value: Json, length: int = 12) -> str:
    """Return the SHA-256 of a JSON value, shortened to `length` hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def _typed(kind: Any, raw: Json) -> Any:
    """Build what a field's type says from decoded JSON; what JSON knows already is left as it is."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        some = [each for each in inner if each is not NoneType]
        return raw if raw is None or len(some) > 1 else _typed(some[0], raw)
    if kind is Parameters or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(raw)
    if isinstance(kind, type) and is_dataclass(kind):
        types = _types(kind)
        return kind(**{name: _typed(types[name], value) for name, value in raw.items()})
    if origin is tuple:
        return tuple(_typed(inner[0], value) for value in raw)
    if origin in (list, Sequence):
        return [_typed(inner[0], value) for value in raw]
    if origin in (dict, Mapping):
        return {name: _typed(inner[1], value) for name, value in raw.items()}
    return raw


@cache
def _types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}
