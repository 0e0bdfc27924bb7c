"""A digest of a source's rows, to compare the data of two machines: no image is opened.

Flow: rows -> ``fingerprint`` -> a study on several machines compares the machines' fingerprints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from core.data.sources.rows import Row


def fingerprint(rows: Iterable[Row]) -> str:
    """The first 16 hex digits of the SHA-256 of file names, captions and labels, in order; independent of folders."""
    digest = hashlib.sha256()
    for row in rows:
        parts = (row.image.name, *row.captions, *(f"{name}={value}" for name, value in sorted(row.labels.items())))
        digest.update("\0".join(parts).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
