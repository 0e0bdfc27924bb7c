"""Writes any source as shards for WebDataset, open_clip and this program.

Flow: ``python -m core shard SOURCE OUT`` -> ``write_shards`` -> OUT/00000.tar, ..., each with its index, and their row
counts in ``sizes.json``, as open_clip expects. A row consists of KEY.jpg (a JPEG, PNG or WebP is unchanged; other
formats are converted to PNG), KEY.txt with the first caption, and, if the row has labels or more captions, KEY.json
with all labels and captions.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from core.data.errors import BadRow, DataError, ImageError, check_bad_share
from core.data.images import decode, image_bytes, image_header
from core.data.permutation import permute_positions
from core.data.sources.rows import Row, Source
from core.data.sources.shards.index import MAX_ROWS, open_index
from core.spec.errors import writing
from core.spec.files import temporary_path, whole_file, write_whole
from core.spec.shards import TAR_SUFFIX

SHARD_ROWS = 10_000  # default rows per shard, like img2dataset
SIZES_FILE = "sizes.json"
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}  # image formats that open_clip reads
MAX_SHARDS = 100_000  # shard names have five digits
PROBE_SIDE = 32  # shorter side, in pixels, at which an image is decoded to check it
SHUFFLE = 1007  # stream id of a draw

Progress = Callable[[int, int], None]  # (done, total); may raise to end the work


@dataclass
class WrittenShards:
    """The result of `write_shards`: written shards and rows, and the rows that were skipped."""

    shards: list[Path] = field(default_factory=list)
    rows: int = 0
    bad: list[BadRow] = field(default_factory=list)


def write_shards(
    source: Source,
    folder: Path,
    progress: Progress,
    *,
    rows: int = SHARD_ROWS,
    seed: int | None = None,
    max_megapixels: int = 200,
    max_bad_share: float = 0.05,
) -> WrittenShards:
    """Write ``source`` into ``folder``, with ``rows`` rows per shard; shuffled if ``seed`` is not None.

    Images that cannot be read are skipped and listed. Raises DataError if ``folder`` is not empty, too many rows are
    bad, or the disk is full. ``folder`` is written completely or not at all.
    """
    if not 1 <= rows <= MAX_ROWS or len(source.rows) > rows * MAX_SHARDS:
        raise DataError(
            f"{rows} rows per shard are not possible; choose 1 to {MAX_ROWS:,} rows, and at most {MAX_SHARDS:,} shards."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not an empty folder, and nothing is overwritten; choose another folder.")
    order = np.arange(len(source.rows), dtype=np.int64)
    if seed is not None:
        order = permute_positions(order, len(order), seed, SHUFFLE)
    exists = folder.exists()  # an existing folder may be a mount point, which cannot be replaced by renaming
    partial = temporary_path((folder if exists else folder.parent) / f".{folder.name}")
    try:
        with writing(folder, DataError, "nothing is left of it"):
            partial.mkdir(parents=True)
            work = _ShardWriter(source, partial, progress, max_megapixels, max_bad_share)
            for start in range(0, len(order), rows):
                work.write(order[start : start + rows].tolist())
            write_whole(partial / SIZES_FILE, json.dumps(work.sizes, indent=1).encode())
            if exists:
                for path in sorted(partial.iterdir()):  # moves sizes.json last
                    path.rename(folder / path.name)
            else:
                partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    work.written.shards = [folder / path.name for path in work.written.shards]
    return work.written


class _ShardWriter:
    """Writes the shards of a source."""

    def __init__(
        self, source: Source, folder: Path, progress: Progress, max_megapixels: int, max_bad_share: float
    ) -> None:
        self._source, self._folder, self._progress = source, folder, progress
        self._max_megapixels, self._max_bad_share = max_megapixels, max_bad_share
        self.written = WrittenShards(bad=list(source.bad))
        self.sizes: dict[str, int] = {}
        self._row_count = 0

    def write(self, rows: Sequence[int]) -> None:
        """Write a shard of ``rows``, unless none of their images can be read."""
        result, before = self.written, self.written.rows
        path = self._folder / f"{len(result.shards):05}{TAR_SUFFIX}"
        with whole_file(path) as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for row in rows:
                    self._add(tar, self._source.rows[row])
            total = len(self._source.rows) + len(self._source.bad)
            check_bad_share(self._source.origin, result.bad, total, self._max_bad_share)
        if result.rows == before:
            path.unlink()
            return
        open_index(path)
        result.shards.append(path)
        self.sizes[path.name] = result.rows - before

    def _add(self, tar: tarfile.TarFile, row: Row) -> None:
        self._row_count += 1
        self._progress(self._row_count, len(self._source.rows))
        try:
            extension, content = _image(row.file, self._max_megapixels)
        except ImageError as error:
            self.written.bad.append(BadRow(row.location, str(error)))
            return
        key = f"{self.written.rows:09}"
        _add_member(tar, f"{key}.{extension}", content)
        _add_member(tar, f"{key}.txt", row.captions[0].encode())
        if len(row.captions) > 1 or row.labels:
            record = {**row.labels, "captions": list(row.captions)}
            _add_member(tar, f"{key}.json", json.dumps(record, ensure_ascii=False).encode())
        self.written.rows += 1


def _image(file: str, max_megapixels: int) -> tuple[str, bytes]:
    """The extension and the bytes of an image. Raises ImageError if the image cannot be decoded."""
    content = image_bytes(file)
    kind = image_header(content, max_megapixels)[1]
    if kind in EXTENSIONS:
        decode(content, PROBE_SIDE, max_megapixels, fast=True)  # detects truncated files; decodes a JPEG at 1/8
        return EXTENSIONS[kind], content
    png = io.BytesIO()
    Image.fromarray(decode(content, None, max_megapixels)).save(png, "PNG")
    return "png", png.getvalue()


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member without time and owner, so that the same data always gives the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
