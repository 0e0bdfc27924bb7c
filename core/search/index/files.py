"""Locates segments in the data files of an index, and validates a manifest against file sizes.

Flow: manifest and folder -> ``data_file``, ``sizes_of`` -> ``truncate_to_files`` -> ``core.search.index.storage``. A
manifest is not trusted: nothing is allocated, truncated or extended for rows that the files do not contain.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.search.errors import IndexFolderError
from core.search.index.manifest import DATA_FILES, Manifest, Segment
from core.spec.reading import open_regular

FACTS = np.dtype(
    [
        ("offset", "<u8"),  # position of the record in bytes
        ("size", "<u8"),  # size of the image's file in bytes
        ("time", "<i8"),  # last change of the image's file, nanoseconds since the epoch
        ("first_text", "<u8"),
        ("length", "<u4"),  # length of the record in bytes
        ("texts", "<u4"),  # number of captions
        ("state", "<u4"),
        ("reserved", "<u4"),
    ]
)
_CHUNK_BYTES = 1 << 22  # bytes read at a time


@dataclass(frozen=True)
class Span:
    """The position of a segment: first row, first caption, first byte of its records."""

    row: int
    text: int
    byte: int
    segment: Segment

    def extents(self, dim: int) -> dict[str, tuple[int, int]]:
        """The first byte of the segment in each file, and the byte after its last."""
        width, segment = 2 * dim, self.segment
        return {
            "images": (self.row * width, (self.row + segment.rows) * width),
            "facts": (self.row * FACTS.itemsize, (self.row + segment.rows) * FACTS.itemsize),
            "records": (self.byte, self.byte + segment.record_bytes),
            "texts": (self.text * width, (self.text + segment.texts) * width),
        }


def spans(manifest: Manifest) -> Iterator[Span]:
    """All segments with their positions."""
    row = text = byte = 0
    for segment in manifest.segments:
        yield Span(row, text, byte, segment)
        row, text, byte = row + segment.rows, text + segment.texts, byte + segment.record_bytes


def covered_bytes(manifest: Manifest) -> dict[str, int]:
    """The number of bytes of each file that ``manifest`` covers."""
    covered = dict.fromkeys(DATA_FILES, 0)
    for span in spans(manifest):
        covered = {kind: end for kind, (_, end) in span.extents(manifest.identity.dim).items()}
    return covered


def data_file(folder: Path, manifest: Manifest, kind: str) -> BinaryIO:
    """Open one of the data files for reading; it must be a regular file in ``folder``.

    Raises IndexFolderError for anything else, FileNotFoundError if it is missing.
    """
    return open_regular(manifest.file(folder, kind), root=folder, error=IndexFolderError)


def sizes_of(folder: Path, manifest: Manifest) -> dict[str, int]:
    """The size of each data file in bytes, 0 if it is missing. Raises the errors of `data_file`."""
    sizes = {}
    for kind in DATA_FILES:
        try:
            with data_file(folder, manifest, kind) as file:
                sizes[kind] = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            sizes[kind] = 0
    return sizes


def truncate_to_files(manifest: Manifest, sizes: Mapping[str, int]) -> Manifest:
    """``manifest`` up to the first segment that exceeds a file of these ``sizes``; unchanged if no segment does.

    Truncation also drops the acceleration files.
    """
    complete = 0
    for span in spans(manifest):
        if any(end > sizes[kind] for kind, (_, end) in span.extents(manifest.identity.dim).items()):
            break
        complete += 1
    if complete == len(manifest.segments):
        return manifest
    truncated = replace(manifest, segments=manifest.segments[:complete], nearest={}, complete=False)
    rows = truncated.rows
    removed = tuple((first, min(count, rows - first)) for first, count in manifest.removed if first < rows)
    return replace(truncated, removed=removed)


def checksum_of(file: BinaryIO, start: int, end: int) -> int:
    """CRC-32 of the bytes from ``start`` to ``end``."""
    file.seek(start)
    checksum = 0
    while start < end and (block := file.read(min(_CHUNK_BYTES, end - start))):
        checksum, start = zlib.crc32(block, checksum), start + len(block)
    return checksum
