"""``manifest.json``: the content of an index, its model, and checksums.

Flow: the writer appends to the data files, then replaces the manifest atomically; a reader uses only what the manifest
covers, so that it can read while the index grows. ``manifest.copy.json`` is used when ``manifest.json`` is damaged. A
manifest contains no time, so that the same images give the same bytes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, FailFast, Field, TypeAdapter, ValidationError

from core.search.errors import IndexFolderError, UnusableIndexError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, parse_json, read_bytes

VERSION = 1
MAX_BYTES = 32 * MEGABYTE  # a manifest for a hundred million images has 13 MB
# Limits per character in a manifest, checked before parsing. A manifest of a hundred million images with
# `MAX_REMOVED_RANGES` ranges stays below them. Content within the limits is parsed and validated in about a second.
_MAX_CHARACTERS = {b"[": 1 << 19, b"{": 1 << 18, b",": 3 << 19, b":": 1 << 19, b"\\": 1 << 16}
MAX_REMOVED_RANGES = 1 << 17  # an index with more ranges of removed rows is rewritten
_MAX_FILES = 1 << 12  # acceleration files
NAME, COPY = "manifest.json", "manifest.copy.json"
_KEY, _HEAD = b'"checksum"', 64  # a manifest of this program contains the key in its first 64 bytes
SEGMENT_ROWS = 1024  # images per segment; the last segment of a build may have fewer
DATA_FILES = ("images", "facts", "records", "texts")  # the data files, in the order of a segment's checksums


Count = Annotated[int, Field(strict=True, ge=0, le=1 << 40)]
Positive = Annotated[int, Field(strict=True, ge=1, le=1 << 40)]
Checksum = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]


_FILES = TypeAdapter(dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]])


def _check_nearest(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Validate the format of `core.search.index.acceleration`: a text per bank, two numbers per file."""
    files = value.get("files", {})
    if isinstance(files, Mapping) and len(files) > _MAX_FILES:
        raise ValueError("too many acceleration files")
    _FILES.validate_python(files)
    if not all(isinstance(text, str) for name, text in value.items() if name != "files"):
        raise ValueError("the description of the search method must be text")
    return value


@dataclass(frozen=True)
class Identity:
    """The model of the vectors, and its preprocessing."""

    model: str  # name for `core.checkpoint.opening.open_model`
    weights: str  # "student", "teacher" or ""
    digest: str  # digest of the weights and the precision
    preprocessing: Mapping[str, Any]
    dim: Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
    normalisation: str = "unit length"

    @property
    def title(self) -> str:
        """The model's name in messages."""
        return f"{self.model} ({self.weights})" if self.weights else self.model


@dataclass(frozen=True)
class Segment:
    """Images that were committed together."""

    rows: Positive
    texts: Count  # number of captions
    record_bytes: Count
    checksums: tuple[Checksum, Checksum, Checksum, Checksum]  # CRC-32, in the order of DATA_FILES


@dataclass(frozen=True)
class Manifest:
    """The content of an index, which a reader needs before it opens the data files."""

    identity: Identity
    source: str
    generation: Positive = 1  # generation of the data files; a rewrite starts a new one
    complete: bool = False  # whether the last update finished
    segments: Annotated[tuple[Segment, ...], FailFast()] = ()
    removed: Annotated[tuple[tuple[Count, Positive], ...], FailFast()] = ()  # ranges of removed rows: first row, count
    # written by `core.search.index.acceleration`
    nearest: Annotated[Mapping[str, Any], AfterValidator(_check_nearest)] = field(default_factory=dict)
    version: Count = VERSION

    @property
    def rows(self) -> int:
        """The number of rows in the data files, including removed rows."""
        return sum(segment.rows for segment in self.segments)

    @property
    def texts(self) -> int:
        """The number of captions of all rows."""
        return sum(segment.texts for segment in self.segments)

    def file(self, folder: Path, kind: str) -> Path:
        """The path of one of the data files."""
        return folder / f"{kind}-{self.generation:04d}.bin"

    def removed_rows(self) -> npt.NDArray[np.bool_]:
        """Whether each row is removed: (rows,)."""
        removed = np.zeros(self.rows, dtype=np.bool_)
        for first, count in self.removed:
            removed[first : first + count] = True
        return removed

    def with_removed(self, removed: npt.NDArray[np.bool_]) -> Manifest:
        """A copy with removed rows where ``removed`` (rows,) is true."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], removed.astype(np.int8), [0]])))
        ranges = edges.reshape(-1, 2)
        return replace(self, removed=tuple((int(first), int(end - first)) for first, end in ranges))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest and its copy atomically. Raises IndexFolderError if the manifest is too large."""
    # asdict copies deeply, and there may be a million segments
    content = asdict(replace(manifest, segments=(), removed=()))
    content |= {"segments": [vars(segment) for segment in manifest.segments], "removed": manifest.removed}
    text = json.dumps({"checksum": _checksum(content), **content}, ensure_ascii=True).encode()
    if not _is_bounded(text):
        raise IndexFolderError(f"{folder / NAME} would be too large; index a part of the images into another folder.")
    write_whole(folder / NAME, text)
    write_whole(folder / COPY, text)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or its copy if the manifest is damaged; None if there is no index.

    Raises IndexFolderError if both are unreadable; UnusableIndexError if both are damaged, they come from a later
    version of the program, or ``manifest.json`` is another program's. Data files are validated when they are opened.
    """
    contents: list[bytes] = []
    unreadable: IndexFolderError | None = None
    for path in (folder / NAME, folder / COPY):
        try:
            contents.append(read_bytes(path, MAX_BYTES, root=folder, error=IndexFolderError))
        except FileNotFoundError:
            continue
        except IndexFolderError as error:
            unreadable = unreadable or error
            continue
        if contents[:-1] == contents[1:] and len(contents) > 1:  # the copy is equally damaged
            break
        try:
            with _without_gc():
                return _parse(contents[-1], str(path))
        except _DamagedError:
            continue
    if unreadable is not None:
        raise unreadable
    if not contents:
        return None
    if any(_KEY in content[:_HEAD] for content in contents) or any(folder.glob("facts-[0-9]*.bin")):
        raise UnusableIndexError(f"{folder / NAME} and its copy are damaged; index into another folder.")
    raise UnusableIndexError(f"{folder} contains a {NAME} that does not belong to an index; choose an empty folder.")


class _DamagedError(IndexFolderError):
    """Content that is not a manifest of this version; the copy may be valid."""


_ADAPTER = TypeAdapter(Manifest)


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """Disable garbage collection, since JSON has no cycles and the search for cycles takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_bounded(content: bytes) -> bool:
    """Whether ``content`` is within the limits of a manifest."""
    return len(content) <= MAX_BYTES and all(
        content.count(character) <= limit for character, limit in _MAX_CHARACTERS.items()
    )


def _parse(content: bytes, name: str) -> Manifest:
    if not _is_bounded(content):
        raise _DamagedError(f"{name} exceeds the limits of an index.")
    raw = parse_json(content, name, error=_DamagedError)
    if not isinstance(raw, dict) or "checksum" not in raw:
        raise _DamagedError(f"{name} is not a manifest.")
    version = raw.get("version", 0)
    if isinstance(version, int) and version > VERSION:
        raise UnusableIndexError(
            f"{name} was written by a later version of sdgui; update sdgui, or index the images again."
        )
    if raw.pop("checksum") != _checksum(raw):
        raise _DamagedError(f"{name} has a wrong checksum.")
    try:
        manifest = _ADAPTER.validate_python(raw)
    except ValidationError as problem:
        raise _DamagedError(f"{name} has invalid fields.") from problem
    end, rows = 0, manifest.rows
    for first, count in manifest.removed:
        if first < end or first + count > rows:
            raise _DamagedError(f"{name}: removed rows are out of order, or beyond the end.")
        end = first + count
    return manifest


def as_checksums(numbers: Iterable[int]) -> tuple[int, int, int, int]:
    """Four checksums in the order of DATA_FILES. Raises ValueError for a different number."""
    images, facts, records, texts = numbers
    return images, facts, records, texts


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
