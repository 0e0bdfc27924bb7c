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
from collections.abc import Sequence
from dataclasses import dataclass, field

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from core.data.cache import SIGNATURES_SUFFIX, cache_folder, files_digest, prune, read_in_threads
from core.data.errors import ImageError
from core.data.images import decode, image_bytes
from core.spec.files import whole_file
from core.spec.reporter import Progress

VERSION = 1
TINY_SIDE = 8  # pixels per side of the tiny copy
HASH_SIDE = 32  # pixels per side of the image that pHash reads
MAX_MEGAPIXELS = 200
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

    def join(self, following: Signatures) -> Signatures:
        """These signatures followed by the signatures of ``following``."""
        shifted = {position + len(self): reason for position, reason in following.broken.items()}
        return Signatures(np.concatenate([self.entries, following.entries]), self.broken | shifted)


def read_signatures(files: Sequence[str], progress: Progress) -> Signatures:
    """The signatures of ``files``, cached until a file changes. ``progress`` may raise to cancel."""
    path = cache_folder() / (files_digest(files, f"signatures {VERSION} {MAX_MEGAPIXELS}") + SIGNATURES_SUFFIX)
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, damaged or empty signatures are computed below
        cached: Entries = np.load(path, allow_pickle=False)
        if cached.dtype == ENTRY and cached.shape == (len(files),):
            os.utime(path)
            return Signatures(cached, _retry_unreadable(files, cached))
    signatures = Signatures(np.zeros(len(files), ENTRY))
    with contextlib.closing(read_in_threads(signature, files)) as results:
        for position, entry in enumerate(results):
            if isinstance(entry, ImageError):
                signatures.broken[position] = str(entry)
            else:
                signatures.entries[position] = entry
            if position % REPORT_EVERY == 0:
                progress("reading images", position, len(files))
    with contextlib.suppress(OSError):  # without a writable cache, signatures are computed again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, durable=False) as file:
            np.save(file, signatures.entries, allow_pickle=False)
        prune(path.parent, keep=path)
    return signatures


def signature(file: str) -> Entries:
    """The `ENTRY` of an image. Raises ImageError."""
    content = image_bytes(file)
    image = Image.fromarray(decode(content, HASH_SIDE, MAX_MEGAPIXELS))
    entry = np.zeros((), ENTRY)
    entry["digest"] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), np.uint8)
    bits = imagehash.phash(image).hash.ravel()  # (64,) bool
    entry["hash"] = np.packbits(bits).view("<u8")[0]
    entry["tiny"] = np.asarray(image.resize((TINY_SIDE, TINY_SIDE), Image.Resampling.BOX))
    entry["readable"] = True
    return entry


def _retry_unreadable(files: Sequence[str], entries: Entries) -> dict[int, str]:
    """Read the unreadable images again: their reasons; fills in ``entries`` of images that can now be read."""
    reasons = {}
    for position in np.flatnonzero(~entries["readable"]).tolist():
        try:
            entries[position] = signature(files[position])
        except ImageError as error:
            reasons[position] = str(error)
    return reasons
