"""Read fields of decoded JSON with checks; each function raises `ValueError` with one line saying what is wrong."""

import sys
from typing import Any

Json = dict[str, Any]
_REQUIRED: Any = object()


def mapping(raw: object, what: str) -> Json:
    """Return `raw`, a JSON object; raises `ValueError` if it is anything else, naming it by `what`."""
    if not isinstance(raw, dict):
        raise ValueError(f"{what} is not a JSON object")
    return raw


def get(raw: Json, name: str, kind: type | tuple[type, ...], default: Any = _REQUIRED) -> Any:
    """Return the field `name` if it is of type `kind`; if it is null or absent, the default."""
    value = raw.get(name)
    if value is None:
        if default is _REQUIRED:
            raise ValueError(f"`{name}` is missing")
        return default
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` has the wrong type ({type(value).__name__})")
    return value


def texts(raw: Json, name: str) -> tuple[str, ...]:
    """Return a list of texts; empty if the field is missing."""
    return tuple(str(text) for text in get(raw, name, list, []))


def labels(raw: Json, name: str) -> dict[str, str]:
    """Return an object of texts, in order; empty if the field is missing."""
    found: dict[str, str] = get(raw, name, dict, {})
    if {*map(type, found.values())} <= {str}:  # as they always are: a large store has many millions
        return found
    return {key: str(text) for key, text in found.items()}


def amounts(raw: Json, name: str) -> dict[str, float]:
    """Return an object of numbers that are not negative, in order."""
    numbers = get(raw, name, dict)
    for key, value in numbers.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= sys.float_info.max:
            raise ValueError(f"`{name}`: {key} is not a number from 0 on")
    return {key: float(value) for key, value in numbers.items()}
