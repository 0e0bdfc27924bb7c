"""Values that the GUI keeps in its settings: JSON texts and numbers, which may be damaged."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

_Kind = TypeVar("_Kind", list[Any], dict[str, Any])
_Fields = TypeVar("_Fields")


def parse_stored(value: object, kind: type[_Kind]) -> _Kind:
    """The list or object in a stored text; empty if the text is missing, invalid or of another kind."""
    try:
        raw = json.loads(str(value or "null"))
    except (ValueError, RecursionError):
        return kind()
    return raw if isinstance(raw, kind) else kind()


def parse_number(value: object, default: int) -> int:
    """The whole number of at most nine digits, at least 0, in a stored value; ``default`` if it is anything else."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 10 else default


def read_stored(value: object, kind: type[_Fields]) -> _Fields:
    """The dataclass in a stored text; with its default values if the text is missing or invalid."""
    adapter: TypeAdapter[_Fields] = TypeAdapter(kind)
    try:
        return adapter.validate_json(str(value or "{}"))
    except ValidationError:
        return kind()
