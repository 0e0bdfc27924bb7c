"""``manifest.json``: what an index holds, by which model, and the checksums by which damage is seen.

Flow: the writer appends to the data files, then writes the manifest whole and renames it; a reader knows of nothing
that the manifest does not name, so that it may read while the index grows. A second copy, ``manifest.copy.json``,
serves when the first is damaged. No time of day is in it: the same images give the same bytes.
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

from core.search.errors import IndexFolderError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, parse_json, read_bytes

VERSION = 1
LARGEST = 32 * MEGABYTE  # bytes of a manifest; a hundred million images take 13 MB
# The most of each character in a manifest, counted before it is parsed. A hundred million images with `MOST_REMOVED`
# runs have fewer; what has no more than these is parsed, checked and refused in about a second.
_MOST = {b"[": 1 << 19, b"{": 1 << 18, b",": 3 << 19, b":": 1 << 19, b"\\": 1 << 16}
MOST_REMOVED = 1 << 17  # runs of removed rows; an index with more is written anew without them
_MOST_FILES = 1 << 12  # that make searching fast
NAME, COPY = "manifest.json", "manifest.copy.json"
_KEY, _HEAD = b'"checksum"', 64  # what a manifest of ours has among its first bytes
BLOCK = 1024  # images of a segment, the last one of a build may have fewer
KINDS = ("images", "facts", "records", "texts")  # the data files, and the order of a segment's checksums


Count = Annotated[int, Field(strict=True, ge=0, le=1 << 40)]
Positive = Annotated[int, Field(strict=True, ge=1, le=1 << 40)]
Checksum = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]


_FILES = TypeAdapter(dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]])


def _nearest(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuses what `core.search.index.acceleration` cannot have written: a text per bank, two numbers per file."""
    files = value.get("files", {})
    if isinstance(files, Mapping) and len(files) > _MOST_FILES:
        raise ValueError("no index is searched by so many files")
    _FILES.validate_python(files)
    if not all(isinstance(words, str) for name, words in value.items() if name != "files"):
        raise ValueError("the description of how an index is searched must be text")
    return value


@dataclass(frozen=True)
class Identity:
    """Which model made the vectors, and how it was shown the images."""

    model: str  # as `core.checkpoint.opening.open_model` takes it
    weights: str  # "student", "teacher" or ""
    digest: str  # of the weights and the precision
    preprocessing: Mapping[str, Any]
    dim: Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
    normalisation: str = "unit length"

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.model} ({self.weights})" if self.weights else self.model


@dataclass(frozen=True)
class Segment:
    """A run of images that were committed together."""

    rows: Positive
    texts: Count  # captions
    record_bytes: Count
    checksums: tuple[Checksum, Checksum, Checksum, Checksum]  # CRC-32, in the order of KINDS


@dataclass(frozen=True)
class Manifest:
    """All that a reader needs to know before it opens a data file."""

    identity: Identity
    source: str
    generation: Positive = 1  # of the data files; a rewrite begins a new one
    complete: bool = False  # whether the last update came to its end
    segments: Annotated[tuple[Segment, ...], FailFast()] = ()
    removed: Annotated[
        tuple[tuple[Count, Positive], ...], FailFast()
    ] = ()  # runs of rows that are no more: first row, count
    nearest: Annotated[Mapping[str, Any], AfterValidator(_nearest)] = field(default_factory=dict)  # see `scan`
    version: Count = VERSION

    @property
    def rows(self) -> int:
        """Rows of the data files, the removed ones too."""
        return sum(segment.rows for segment in self.segments)

    @property
    def texts(self) -> int:
        """Captions of all rows."""
        return sum(segment.texts for segment in self.segments)

    def file(self, folder: Path, kind: str) -> Path:
        """One of the data files."""
        return folder / f"{kind}-{self.generation:04d}.bin"

    def removed_rows(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether each row is no more."""
        gone = np.zeros(self.rows, dtype=np.bool_)
        for first, count in self.removed:
            gone[first : first + count] = True
        return gone

    def with_removed(self, gone: npt.NDArray[np.bool_]) -> Manifest:
        """The same with the rows where ``gone`` (rows,) is true removed."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], gone.astype(np.int8), [0]])))
        runs = edges.reshape(-1, 2)
        return replace(self, removed=tuple((int(first), int(end - first)) for first, end in runs))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest and its copy, each whole. IndexFolderError when it is larger than is read again."""
    content = asdict(replace(manifest, segments=(), removed=()))  # which copies deeply; these may be a million
    content |= {"segments": [vars(segment) for segment in manifest.segments], "removed": manifest.removed}
    text = json.dumps({"checksum": _checksum(content), **content}, ensure_ascii=True).encode()
    if not _is_bounded(text):
        raise IndexFolderError(f"{folder / NAME} would be too large to be read; index a part into another folder.")
    write_whole(folder / NAME, text)
    write_whole(folder / COPY, text)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or its copy when it is damaged; None where there is no index.

    Raises IndexFolderError when both are damaged or cannot be read, a later version of the program wrote them, or
    ``manifest.json`` is something else's. What it claims of the data files is checked where those are opened.
    """
    found: list[bytes] = []
    unreadable: IndexFolderError | None = None
    for path in (folder / NAME, folder / COPY):
        try:
            found.append(read_bytes(path, LARGEST, root=folder, error=IndexFolderError))
        except FileNotFoundError:
            continue
        except IndexFolderError as error:
            unreadable = unreadable or error
            continue
        if found[:-1] == found[1:] and len(found) > 1:  # the copy of a damaged one is the same
            break
        try:
            with _uncollected():
                return _parse(found[-1], str(path))
        except _DamagedError:
            continue
    if unreadable is not None:
        raise unreadable
    if not found:
        return None
    if any(_KEY in content[:_HEAD] for content in found) or any(folder.glob("facts-[0-9]*.bin")):
        raise IndexFolderError(f"{folder / NAME} is damaged, and so is its copy; index into another folder.")
    raise IndexFolderError(f"{folder} holds a {NAME} that does not belong to an index; choose an empty folder.")


class _DamagedError(IndexFolderError):
    """Content that is no manifest of this version; the copy may be one."""


_ADAPTER = TypeAdapter(Manifest)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of reference cycles: JSON has none, and looking for them takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_bounded(content: bytes) -> bool:
    """Whether ``content`` has no more of anything than a manifest may have."""
    return len(content) <= LARGEST and all(content.count(character) <= most for character, most in _MOST.items())


def _parse(content: bytes, where: str) -> Manifest:
    if not _is_bounded(content):
        raise _DamagedError(f"{where} holds more than any index has.")
    raw = parse_json(content, where, error=_DamagedError)
    if not isinstance(raw, dict) or "checksum" not in raw:
        raise _DamagedError(f"{where} is no manifest.")
    version = raw.get("version", 0)
    if isinstance(version, int) and version > VERSION:
        raise IndexFolderError(f"{where} was written by a later version of this program; update it, or index again.")
    if raw.pop("checksum") != _checksum(raw):
        raise _DamagedError(f"{where} has another checksum.")
    try:
        manifest = _ADAPTER.validate_python(raw)
    except ValidationError as problem:
        raise _DamagedError(f"{where} has fields that no index has.") from problem
    end, rows = 0, manifest.rows
    for first, count in manifest.removed:
        if first < end or first + count > rows:
            raise _DamagedError(f"{where}: removed rows are out of order, or beyond the end.")
        end = first + count
    return manifest


def four(numbers: Iterable[int]) -> tuple[int, int, int, int]:
    """Checksums in the order of KINDS. ValueError when they are not four."""
    images, facts, records, texts = numbers
    return images, facts, records, texts


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
