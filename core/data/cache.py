"""A memory-mapped cache of decoded images: each image is decoded once, and later read at memory speed.

Flow: the data set calls ``open_cache`` with its files. The function opens an existing cache, or decodes all images into
a new one, or returns None if they do not fit: images are then decoded on the fly.

A cache is one file: the pixels of all images, then an index (height and width of each image, and the errors of
unreadable images), then a fixed footer. An image that the system refused to read (too many open files, no permission)
is tried again when the cache is opened; once the image can be read, the cache is rebuilt. A cache is written under a
temporary name and renamed, so that two processes can build the same cache at the same time; the temporary file of a
killed build is removed after a day.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, TypeVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import platformdirs
from pydantic import Field, TypeAdapter, ValidationError

from core.data.errors import ImageError
from core.data.images import Pixels, Resizing, decode, decode_square, decoded_size
from core.spec.errors import UserError
from core.spec.files import whole_file
from core.spec.reading import open_regular
from core.spec.shards import file_of

VERSION = 2
MAGIC = b"sdgui-images-001"
FOOTER = struct.Struct("<16sQQI")  # magic, bytes of pixels, bytes of index, CRC-32 of index
SUFFIX = ".images"
ROWS_SUFFIX = ".rows"  # tables of rows (``core.data.sources.tables``) in the same folder
SIGNATURES_SUFFIX = ".signatures"  # image signatures (``core.data.inspection.signatures``) in the same folder
MAX_TOTAL_BYTES = 20 << 30  # limit for all caches not in use by this process; the least recently used are removed first
STALE_AFTER_S = 24 * 3600.0  # an older temporary file is left over from a killed build
SIZE_SAMPLE = 256  # number of headers that are read to estimate the total size
IMAGES_AHEAD = 4  # images in flight per decoding thread

T = TypeVar("T")
Progress = Callable[[int, int], None]  # (finished, total); may raise to cancel
Log = Callable[[str], None]


@dataclass(frozen=True)
class Decoding:
    """How images are decoded; part of the keys of image and feature caches."""

    shorter_side: int
    max_megapixels: int
    fast: bool = False
    resizing: Resizing | None = None  # if set: images are squares, resized and cropped like open_clip's

    def read(self, path: str | Path | bytes) -> Pixels:
        """The image in the file or the bytes ``path`` as a writable (H, W, 3) uint8 array. Raises ImageError."""
        if self.resizing is not None:
            return decode_square(path, self.shorter_side, self.max_megapixels, self.resizing)
        return decode(path, self.shorter_side, self.max_megapixels, self.fast)

    def size(self, path: str | Path) -> int:
        """Bytes of the decoded image, from the header of ``path`` alone. Raises ImageError."""
        if self.resizing is not None:
            return 3 * self.shorter_side**2
        return decoded_size(path, self.shorter_side, self.max_megapixels, self.fast)


_Side = Annotated[int, Field(ge=0, le=1 << 20)]


@dataclass(frozen=True)
class _Index:
    """The index after the pixels: height and width of each image, and the errors of unreadable images."""

    shapes: list[tuple[_Side, _Side]]
    bad: dict[int, str]
    retryable: frozenset[int]  # rows of ``bad`` that the system refused to read; their files may be fine


_INDEX = TypeAdapter(_Index)
# Caches that `prune` must not remove: opening validation data must not remove a run's training images.
_in_use: WeakSet[ImageCache] = WeakSet()


class ImageCache:
    """The images of one cache file. Picklable: a loader process reopens the file."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError if ``path`` is not a complete cache, OSError if it cannot be read."""
        self.path = path
        pixels, index = _read_index(path)
        self.bad: dict[int, str] = dict(index.bad)
        self.retryable = index.retryable
        shape = np.array(index.shapes, dtype=np.int64).reshape(-1, 2)
        sizes = 3 * shape[:, 0] * shape[:, 1]
        if int(sizes.sum()) != pixels:
            raise ValueError(f"{path} has an index that does not match its pixel data")
        self._shapes = shape
        self._starts = np.cumsum(sizes) - sizes
        self._pixels: npt.NDArray[np.uint8] = (
            np.memmap(path, dtype=np.uint8, mode="c", shape=(pixels,)) if pixels else np.empty(0, np.uint8)
        )
        _in_use.add(self)

    def __reduce__(self) -> tuple[type[ImageCache], tuple[Path]]:
        return ImageCache, (self.path,)

    def __len__(self) -> int:
        return len(self._shapes)

    def image(self, row: int) -> Pixels:
        """(H, W, 3) uint8, a view into the file."""
        height, width = self._shapes[row]
        start = self._starts[row]
        return self._pixels[start : start + 3 * height * width].reshape(height, width, 3)


def cache_folder() -> Path:
    """The folder of all caches: SDGUI_CACHE_DIR, or the user's cache folder."""
    override = os.environ.get("SDGUI_CACHE_DIR")
    return Path(override) if override else platformdirs.user_cache_path("sdgui", appauthor=False) / "images"


def open_cache(
    files: Sequence[str],
    decoding: Decoding,
    budget: int,
    progress: Progress | None = None,
    log: Log | None = None,
    build: bool = True,
) -> ImageCache | None:
    """The cache of ``files``; None if the cache would exceed ``budget`` bytes or cannot be written.

    Without ``build``, opens an existing cache only. ``progress`` may raise to cancel; no file is left then.
    """
    report = log or (lambda message: None)
    needed_bytes = _estimate(files, decoding) if build else 0
    if needed_bytes > budget:
        report(
            f"The decoded images need about {needed_bytes / 2**20:,.0f} MiB, more than data.cache_mib allows "
            f"({budget / 2**20:,.0f}); they are decoded on the fly."
        )
        return None
    path = cache_folder() / (files_digest(files, f"{VERSION} {decoding}") + SUFFIX)
    with contextlib.suppress(OSError, ValueError):  # a missing or truncated cache is built below
        cache = ImageCache(path)
        if len(cache) == len(files) and (not build or _still_unread(cache, files, decoding)):
            with contextlib.suppress(OSError):  # a read-only folder
                os.utime(path)  # marks it as recently used
            return cache
    if not build:
        return None
    with contextlib.closing(_build(files, decoding, path, needed_bytes, max(budget, MAX_TOTAL_BYTES))) as building:
        while True:
            try:
                decoded_count = next(building)
            except StopIteration:
                break
            except OSError as error:  # a full disk, no right to write
                report(f"Decoded images cannot be cached in {path.parent} ({error}); they are decoded on the fly.")
                return None
            if progress is not None:  # outside the try: its exceptions belong to the caller
                progress(decoded_count, len(files))
    return ImageCache(path)


def _still_unread(cache: ImageCache, files: Sequence[str], decoding: Decoding) -> bool:
    """Whether all images that the system refused to read still cannot be read."""
    for row in cache.retryable:
        try:
            decoding.read(files[row])
        except ImageError as error:
            if error.transient:
                continue
        return False
    return True


def _estimate(files: Sequence[str], decoding: Decoding) -> int:
    """Estimated bytes of all decoded images, from the headers of an even sample."""
    sample = (
        [files[i] for i in np.linspace(0, len(files) - 1, min(SIZE_SAMPLE, len(files))).astype(int)] if files else []
    )
    sizes = []
    for file in sample:
        with contextlib.suppress(ImageError):  # reported when the image is decoded
            sizes.append(decoding.size(file))
    return round(sum(sizes) / len(sizes) * len(files)) if sizes else 0


def files_digest(files: Sequence[str], context: str = "") -> str:
    """A digest (32 hex digits) of ``context`` and of each file's path, size and modification time, in order."""
    digest = hashlib.sha256(context.encode())
    for file in files:
        try:
            status = os.stat(file_of(file))  # noqa: PTH116  (called for up to a million files)
            entry = f"\n{file}\0{status.st_size}\0{status.st_mtime_ns}"
        except OSError:
            entry = f"\n{file}\0"
        digest.update(entry.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _build(
    files: Sequence[str], decoding: Decoding, path: Path, needed_bytes: int, limit: int
) -> Generator[int, None, None]:
    """Decode all ``files`` into ``path``; yields the number of decoded images. Raises OSError if writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed_bytes:
        raise OSError(f"{needed_bytes / 2**20:,.0f} MiB are needed, but only {free / 2**20:,.0f} are free")
    try:
        with whole_file(path) as file:
            yield from _write(file, files, decoding)
    except PermissionError:
        if os.name != "nt" or not path.exists():
            raise  # on Windows, another process has the same, finished cache open
    prune(path.parent, path, limit)


def _write(file: IO[bytes], files: Sequence[str], decoding: Decoding) -> Iterator[int]:
    shapes: list[tuple[int, int]] = []
    bad_rows: dict[str, str] = {}
    retryable: list[int] = []
    pixels = 0  # bytes
    for row, image in enumerate(read_in_threads(decoding.read, files)):
        if isinstance(image, ImageError):
            bad_rows[str(row)] = str(image)
            if image.transient:
                retryable.append(row)
            shapes.append((0, 0))
        else:
            file.write(image.tobytes())
            pixels += image.nbytes
            shapes.append((image.shape[0], image.shape[1]))
        yield row + 1
    index = json.dumps({"shapes": shapes, "bad": bad_rows, "retryable": retryable}).encode()
    file.write(index)
    file.write(FOOTER.pack(MAGIC, pixels, len(index), zlib.crc32(index)))


def read_in_threads(read: Callable[[str], T], files: Sequence[str]) -> Generator[T | ImageError, None, None]:
    """The result of ``read``, or its ImageError, for each file in order; uses one thread per core."""

    def attempt(path: str) -> T | ImageError:
        try:
            return read(path)
        except ImageError as error:
            return error

    threads = min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        waiting: deque[Future[T | ImageError]] = deque()
        for path in files:
            waiting.append(pool.submit(attempt, path))
            if len(waiting) >= IMAGES_AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_index(path: Path) -> tuple[int, _Index]:
    """The number of bytes of pixels, and the index. Raises ValueError if the file is truncated or damaged."""
    try:
        cache_file = open_regular(path)
    except UserError as error:
        raise ValueError(str(error)) from error
    with cache_file as file:
        size = file.seek(0, os.SEEK_END)
        if size < FOOTER.size:
            raise ValueError(f"{path} is truncated")
        file.seek(size - FOOTER.size)
        magic, pixels, length, checksum = FOOTER.unpack(file.read(FOOTER.size))
        if magic != MAGIC or pixels + length + FOOTER.size != size:
            raise ValueError(f"{path} is truncated or has another version")
        file.seek(pixels)
        index = file.read(length)
    if zlib.crc32(index) != checksum:
        raise ValueError(f"{path} has a damaged index")
    try:
        return pixels, _INDEX.validate_json(index)
    except ValidationError as error:
        raise ValueError(f"{path} has a damaged index") from error


def prune(folder: Path, keep: Path | None = None, limit: int = MAX_TOTAL_BYTES) -> None:
    """Remove the least recently used caches until ``limit`` bytes are left, and the leftovers of killed builds.

    ``keep`` and the caches that this process has open are not removed, and do not count towards the limit.
    """
    total = 0
    candidates = []
    used_files = {keep, *(cache.path for cache in list(_in_use))}
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have removed the file
            status = path.stat()
            if path.suffix in (SUFFIX, ROWS_SUFFIX, SIGNATURES_SUFFIX):
                if path not in used_files:
                    candidates.append((status.st_mtime, status.st_size, path))
            elif path.suffix == ".tmp" and time.time() - status.st_mtime > STALE_AFTER_S:
                path.unlink()
    for _, size, path in sorted(candidates, reverse=True):
        total += size
        if total > limit:
            with contextlib.suppress(OSError):  # in use, on Windows
                path.unlink()
