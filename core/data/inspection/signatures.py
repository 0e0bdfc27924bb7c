"""Signatures of images, for finding duplicates: a digest of the file, a perceptual hash, a tiny copy.

Flow: paths -> ``read_signatures`` (one thread per core; cached) -> ``core.data.inspection.duplicates``.
The hash is ImageHash's pHash: the signs of the 64 lowest frequencies of a grey 32-pixel image (Zauner 2010). The hash
ignores colour and hardly distinguishes flat images, so each match is confirmed by the tiny copy, 8 x 8 pixels in
colour.

Legend: N images.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from core.data.cache import SIGNATURES_SUFFIX, cache_folder, files_digest, prune
from core.data.errors import ImageError
from core.data.images import decode, image_bytes
from core.spec.files import whole_file
from core.spec.reporter import Progress

VERSION = 1
TINY_SIDE = 8  # pixels a side of the tiny copy
HASH_SIDE = 32  # pixels a side of the image that pHash reads
MAX_MEGAPIXELS = 200
IMAGES_AHEAD = 4  # images in flight per thread
REPORT_EVERY = 50  # images between two progress reports

ENTRY = np.dtype([("digest", "u1", 16), ("hash", "<u8"), ("tiny", "u1", (TINY_SIDE, TINY_SIDE, 3)), ("readable", "?")])
Entries = npt.NDArray[np.void]


@dataclass
class Signatures:
    """``entries`` (N,) of `ENTRY`; ``broken``: position of an unreadable image -> the reason."""

    entries: Entries
    broken: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def joined(self, following: Signatures) -> Signatures:
        """These signatures followed by the signatures of ``following``."""
        shifted = {position + len(self): reason for position, reason in following.broken.items()}
        return Signatures(np.concatenate([self.entries, following.entries]), self.broken | shifted)


def read_signatures(files: Sequence[str], progress: Progress, max_megapixels: int = MAX_MEGAPIXELS) -> Signatures:
    """The signatures of ``files``, cached until a file changes. ``progress`` may raise to cancel."""
    path = cache_folder() / (files_digest(files, f"signatures {VERSION} {max_megapixels}") + SIGNATURES_SUFFIX)
    with contextlib.suppress(OSError, ValueError):  # missing or damaged signatures are computed below
        cached: Entries = np.load(path, allow_pickle=False)
        if cached.dtype == ENTRY and cached.shape == (len(files),):
            os.utime(path)
            return Signatures(cached, _retry_unreadable(files, cached, max_megapixels))
    signatures = Signatures(np.zeros(len(files), ENTRY))
    with contextlib.closing(_compute_signatures(files, max_megapixels)) as signed:
        for position, entry in enumerate(signed):
            if isinstance(entry, ImageError):
                signatures.broken[position] = str(entry)
            else:
                signatures.entries[position] = entry
            if position % REPORT_EVERY == 0:
                progress("comparing images", position, len(files))
    with contextlib.suppress(OSError):  # without a writable cache, signatures are computed again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, durable=False) as file:
            np.save(file, signatures.entries, allow_pickle=False)
        prune(path.parent, keep=path)
    return signatures


def signature(content: bytes, max_megapixels: int = MAX_MEGAPIXELS) -> Entries:
    """The `ENTRY` of an image's bytes. Raises ImageError."""
    image = Image.fromarray(decode(content, HASH_SIDE, max_megapixels))
    entry = np.zeros((), ENTRY)
    entry["digest"] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint8)
    bits = imagehash.phash(image).hash.ravel()  # (64,) bool
    entry["hash"] = np.packbits(bits).view("<u8")[0]
    entry["tiny"] = np.asarray(image.resize((TINY_SIDE, TINY_SIDE), Image.Resampling.BOX))
    entry["readable"] = True
    return entry


def _attempt(path: str, max_megapixels: int) -> Entries | ImageError:
    try:
        return signature(image_bytes(path), max_megapixels)
    except ImageError as error:
        return error


def _compute_signatures(files: Sequence[str], max_megapixels: int) -> Generator[Entries | ImageError, None, None]:
    """The signatures in order, computed by one thread per core (decoders release the GIL)."""
    threads = min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="signatures")
    try:
        waiting: deque[Future[Entries | ImageError]] = deque()
        for path in files:
            waiting.append(pool.submit(_attempt, path, max_megapixels))
            if len(waiting) >= IMAGES_AHEAD * threads:
                yield waiting.popleft().result()
        yield from _drain(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(waiting: deque[Future[Entries | ImageError]]) -> Iterator[Entries | ImageError]:
    while waiting:
        yield waiting.popleft().result()


def _retry_unreadable(files: Sequence[str], entries: Entries, max_megapixels: int) -> dict[int, str]:
    """Read the unreadable images again: their reasons; fills in ``entries`` of images that can now be read."""
    reasons = {}
    for position in np.flatnonzero(~entries["readable"]).tolist():
        entry = _attempt(files[position], max_megapixels)
        if isinstance(entry, ImageError):
            reasons[position] = str(entry)
        else:
            entries[position] = entry
    return reasons
