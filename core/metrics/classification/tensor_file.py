"""Reads untrusted safetensors files within bounds.

Flow: `core.spec.reading` opens the file -> **tensor_file** checks the header against the file's size and the caller's
``check`` -> only then the tensors are read, so that a header that declares too much costs nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter
from torch import Tensor

from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, excerpt, open_regular, parse_json, validate_as

_HEADER_LIMIT = 8 * MEGABYTE
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}
_REMEDY = "Save it again or use a copy."


class _Entry(BaseModel):
    """A tensor as the header describes it."""

    model_config = ConfigDict(strict=True)

    dtype: str
    shape: Annotated[list[NonNegativeInt], Field(max_length=8)]  # the product of a million sides takes minutes
    data_offsets: list[NonNegativeInt]


@dataclass(frozen=True)
class TensorHeader:
    """The shapes and metadata that a file declares."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


_ENTRIES: TypeAdapter[dict[str, _Entry]] = TypeAdapter(dict[str, _Entry])
_METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


def read_tensors(
    path: Path, limit: int, check: Callable[[TensorHeader], None], error: type[UserError]
) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a safetensors file of at most ``limit`` bytes, and its metadata.

    ``check`` gets the header before any tensor is read, and raises if it is not acceptable. Raises ``error`` for a
    damaged file or another format, FileNotFoundError for a missing file.
    """
    source = str(path)
    with open_regular(path, error=error, limit=limit) as file:
        try:
            start, header = _read_header(file, source, error)
            check(header)
            content = start + file.read(limit + 1 - len(start))
        except OSError as problem:
            raise error(f"{source} cannot be read: {problem.strerror}; use a copy.") from problem
    try:
        return safetensors.torch.load(content), header.metadata
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as problem:
        raise error(f"{source} is a damaged safetensors file: {excerpt(str(problem))}. {_REMEDY}") from problem


def _read_header(file: BinaryIO, source: str, error: type[UserError]) -> tuple[bytes, TensorHeader]:
    """The bytes before the first tensor, and the header in them; ``error`` unless it matches the rest of the file."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
        raise error(f"{source} is not a safetensors file. {_REMEDY}")
    text = file.read(length)
    raw = parse_json(text, source, error=error)
    if not isinstance(raw, dict):
        raise error(f"{source} is not a safetensors file. {_REMEDY}")
    metadata = validate_as(_METADATA, raw.pop("__metadata__", {}), source, error=error, remedy=_REMEDY)
    entries = validate_as(_ENTRIES, raw, source, error=error, remedy=_REMEDY)
    end = max((last for entry in entries.values() for last in entry.data_offsets), default=0)
    if end != size - 8 - length or not all(_fits(entry, end) for entry in entries.values()):
        raise error(f"{source} does not hold the tensors that its header declares. {_REMEDY}")
    return start + text, TensorHeader({name: tuple(entry.shape) for name, entry in entries.items()}, metadata)


def _fits(entry: _Entry, size: int) -> bool:
    """Whether a tensor lies within ``size`` bytes and its length matches its shape."""
    if entry.dtype not in _BYTES or len(entry.data_offsets) != 2:
        return False
    first, last = entry.data_offsets
    expected: Any = math.prod(entry.shape) * _BYTES[entry.dtype]
    return first <= last <= size and last - first == expected
